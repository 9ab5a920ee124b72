#!/bin/sh
# Makes the secrets that compose.yaml names, in compose/secrets or in the directory given; those that are there stay, and
# what follows from them is made again.
# They are readable by everybody because each container has another user; the directory is yours alone.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
directory=${1:-$here/secrets}
mkdir -p "$directory"
chmod 700 "$directory"
cd "$directory"

random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# make NAME TEXT: a file without a line end.
make() {
    [ -e "$1" ] || write "$1" "$2"
}
write() {
    printf %s "$2" >"$1"
    chmod 644 "$1"
}

for name in jwt_secret eu_resume_secret us_resume_secret grafana_admin_password; do
    make "$name" "$(random)"
done

# Redis keeps SHA-256 sums of passwords: #<64 hex digits>.
sum_of() { printf '#'; sha256sum "$1" | cut -d ' ' -f 1; }

# redis REGION ACL USER...: passwords of these users, and Redis's list of users. That is written again each time: rights that a later
# release needs are in it.
redis() {
    region=$1 acl=$2
    shift 2
    changes="s/@REGION@/$region/g"
    for user in "$@"; do
        make "redis_${region}_${user}_password" "$(random)"
        placeholder=$(printf %s "$user" | tr '[:lower:]' '[:upper:]')
        changes="$changes;s/@$placeholder@/$(sum_of "redis_${region}_${user}_password")/"
    done
    write "redis_${region}_users_acl" "$(sed -e '/^#/d' -e '/^$/d' -e ':join' -e '/\\$/{N;s/ *\\\n */ /;b join' -e '}' -e "$changes" "$here/redis/$acl")"
}
# url REGION USER: how a node or a nexus reaches it.
url() {
    make "redis_$1_$2_url" "redis://$2:$(cat "redis_$1_$2_password")@redis-$1:6379"
}

for region in eu us; do
    redis $region users.acl node nexus worker monitor backend operator
    url $region node
    url $region nexus
done
# Redis-nexus: `nexus` stands in place of a region's name.
redis nexus nexus.acl nexus monitor operator
url nexus nexus
