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

for name in redis_node_password redis_nexus_password redis_hub_password redis_worker_password redis_monitor_password redis_backend_password redis_operator_password jwt_secret resume_secret grafana_admin_password; do
    make "$name" "$(random)"
done
make redis_url "redis://node:$(cat redis_node_password)@redis:6379"

# Written again each time: rights that a later release needs are in it. Redis keeps SHA-256 sums of passwords: #<64 hex digits>.
sum_of() { printf '#'; sha256sum "$1" | cut -d ' ' -f 1; }
users_of() {
    sed -e '/^#/d' -e '/^$/d' -e ':join' -e '/\\$/{N;s/ *\\\n */ /;b join' -e '}' \
        -e "s/@NODE@/$(sum_of redis_node_password)/" \
        -e "s/@NEXUS@/$(sum_of redis_nexus_password)/" \
        -e "s/@HUB@/$(sum_of redis_hub_password)/" \
        -e "s/@WORKER@/$(sum_of redis_worker_password)/" \
        -e "s/@MONITOR@/$(sum_of redis_monitor_password)/" \
        -e "s/@BACKEND@/$(sum_of redis_backend_password)/" \
        -e "s/@OPERATOR@/$(sum_of redis_operator_password)/" "$here/redis/$1"
}
write redis_users_acl "$(users_of users.acl)"
write redis_nexus_users_acl "$(users_of nexus.acl)"
