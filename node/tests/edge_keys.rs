//! Keys: which tokens each kind accepts, that a token cannot choose how it is checked, and what is no key at all.
#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PublicKeyData};
use sectorbus::ids::RegionName;
use sectorbus_node::auth::{AuthError, BadKey, Claims, KeySet, KeySource, Token, Verifier, read_jwks, read_pem};
use sectorbus_node::config::{JwtConfig, Secret};
use serde_json::{Value, json};

const NOW_S: u64 = 1_790_000_000;

/// Of 1024 bits.
const WEAK_RSA: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCtwfhoapHOVlVNCXcdsV/C7U+G
ZxtCYPiWnuOEbPLzmf+PsuTkdPkhhzSUDXIGrfQ5OPlW9yRAu/oo5hv5Ylb3fYxf
zK8wobt4E5df2eE988NFnP50WzQ+oqMnRpVgtv8K4LgcvJNgdoFpLkk8MI9ZKbrJ
wjqroLiSwNkWYfTDQQIDAQAB
-----END PUBLIC KEY-----
";

/// A key pair that signs for one algorithm.
struct Maker {
    algorithm: Algorithm,
    pair: KeyPair,
}

impl Maker {
    fn new(algorithm: Algorithm) -> Self {
        let kind = match algorithm {
            Algorithm::RS256 => &rcgen::PKCS_RSA_SHA256,
            Algorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Algorithm::EdDSA => &rcgen::PKCS_ED25519,
            other => panic!("no maker for {other:?}"),
        };
        Self { algorithm, pair: KeyPair::generate_for(kind).unwrap() }
    }

    fn all() -> [Self; 3] {
        [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].map(Self::new)
    }

    fn private(&self) -> EncodingKey {
        let pem = self.pair.serialize_pem();
        let read = match self.algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()),
            _ => EncodingKey::from_ed_pem(pem.as_bytes()),
        };
        read.unwrap()
    }

    fn pem(&self) -> String {
        self.pair.public_key_pem()
    }

    fn jwk(&self, kid: &str) -> Value {
        let mut jwk = if self.algorithm == Algorithm::EdDSA {
            json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(self.pair.public_key_raw()) })
        } else {
            serde_json::to_value(Jwk::from_encoding_key(&self.private(), self.algorithm).unwrap()).unwrap()
        };
        jwk["kid"] = kid.into();
        jwk
    }

    /// A token with this header's `kid` and `more` claims.
    fn token(&self, kid: Option<&str>, more: Value) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm) };
        encode(&header, &payload(more), &self.private()).unwrap()
    }
}

fn payload(more: Value) -> Value {
    let mut payload = json!({ "sub": "ann", "exp": NOW_S + 60 });
    for (claim, value) in more.as_object().unwrap() {
        payload[claim] = value.clone();
    }
    payload
}

fn hs256(key: &[u8], kid: Option<&str>) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::HS256) };
    encode(&header, &payload(json!({})), &EncodingKey::from_secret(key)).unwrap()
}

fn of_pem(pem: &str) -> JwtConfig {
    JwtConfig::new(KeySet::new(read_pem(pem.as_bytes()).unwrap()))
}

fn jwks(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

fn of_jwks(keys: &[Value]) -> JwtConfig {
    JwtConfig::new(KeySet::new(read_jwks(&jwks(keys), KeySource::File).unwrap()))
}

fn judged(jwt: &JwtConfig, token: &str) -> Result<Claims, AuthError> {
    Verifier::new(jwt, RegionName::new("eu").unwrap()).verify(&Token::new(token), 1000 * NOW_S)
}

#[track_caller]
fn accepted(jwt: &JwtConfig, token: &str) {
    assert_eq!(judged(jwt, token).map(|claims| claims.sub.to_string()), Ok("ann".to_owned()));
}

#[test]
fn rs256_es256_and_eddsa_are_accepted_by_pem_and_by_jwks() {
    for maker in Maker::all() {
        let token = maker.token(None, json!({}));
        accepted(&of_pem(&maker.pem()), &token);
        accepted(&of_jwks(&[maker.jwk("a")]), &token);
        accepted(&of_jwks(&[maker.jwk("a")]), &maker.token(Some("a"), json!({})));
        // PEM has no names: whichever the token has may be its.
        accepted(&of_pem(&maker.pem()), &maker.token(Some("a"), json!({})));
        let other = Maker::new(maker.algorithm);
        assert_eq!(judged(&of_pem(&other.pem()), &token), Err(AuthError::BadSignature), "{:?}", maker.algorithm);
        assert_eq!(judged(&of_jwks(&[other.jwk("a")]), &token), Err(AuthError::BadSignature));
    }
}

#[test]
fn a_token_of_each_kind_is_refused_by_keys_of_the_other_kinds() {
    let makers = Maker::all();
    for maker in &makers {
        for other in makers.iter().filter(|other| other.algorithm != maker.algorithm) {
            let token = maker.token(None, json!({}));
            assert_eq!(judged(&of_pem(&other.pem()), &token), Err(AuthError::WrongAlgorithm));
            // Under the other key's name too.
            let named = maker.token(Some("k"), json!({}));
            assert_eq!(judged(&of_jwks(&[other.jwk("k")]), &named), Err(AuthError::WrongAlgorithm));
        }
    }
}

/// Everybody knows a public key: who signs with it as if it were a secret must not get in.
#[test]
fn hs256_with_a_public_key_as_its_secret_is_refused() {
    for maker in Maker::all() {
        let pem = maker.pem();
        let der = maker.pair.subject_public_key_info();
        for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &der, maker.pair.public_key_raw()] {
            assert_eq!(judged(&of_pem(&pem), &hs256(secret, None)), Err(AuthError::WrongAlgorithm));
            let named = hs256(secret, Some("k"));
            assert_eq!(judged(&of_jwks(&[maker.jwk("k")]), &named), Err(AuthError::WrongAlgorithm));
        }
    }
}

/// The same beside a secret: the token is then checked with the secret, never with the public key.
#[test]
fn keys_of_several_kinds_stand_beside_each_other_each_for_its_own_algorithm() {
    let [rsa, ec, ed] = Maker::all();
    let secret = Secret::new([7; 32]).unwrap();
    let mut keys: Vec<_> = JwtConfig::from(secret).keys.iter().cloned().collect();
    for maker in [&rsa, &ec, &ed] {
        keys.extend(read_pem(maker.pem().as_bytes()).unwrap());
    }
    let jwt = JwtConfig::new(KeySet::new(keys));
    for maker in [&rsa, &ec, &ed] {
        accepted(&jwt, &maker.token(None, json!({})));
        assert_eq!(judged(&jwt, &hs256(maker.pem().as_bytes(), None)), Err(AuthError::BadSignature));
    }
    accepted(&jwt, &hs256(&[7; 32], None));
}

#[test]
fn none_is_refused_whatever_keys_there_are() {
    let maker = Maker::new(Algorithm::ES256);
    let token = maker.token(None, json!({}));
    let (_, rest) = token.split_once('.').unwrap();
    let (body, _) = rest.split_once('.').unwrap();
    for alg in ["none", "None", "NONE", "", "ES256K", "RS1"] {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg, "typ": "JWT" }).to_string());
        for none in [format!("{header}.{body}."), format!("{header}.{rest}")] {
            assert_eq!(judged(&of_pem(&maker.pem()), &none), Err(AuthError::WrongAlgorithm), "{alg}");
        }
    }
}

/// Signed by the right key, and still: an extension that is not known may say that the token is no token.
#[test]
fn a_header_with_crit_is_refused() {
    let maker = Maker::new(Algorithm::EdDSA);
    let signed = |header: &Value| {
        let message = [header, &payload(json!({}))].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &maker.private(), Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    };
    let jwt = of_pem(&maker.pem());
    accepted(&jwt, &signed(&json!({ "alg": "EdDSA", "typ": "JWT", "unknown": 1 })));
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!("x"), json!(null), json!(false)] {
        assert_eq!(judged(&jwt, &signed(&json!({ "alg": "EdDSA", "crit": crit }))), Err(AuthError::UnknownCrit));
    }
}

#[test]
fn with_an_audience_a_token_must_name_it() {
    let maker = Maker::new(Algorithm::ES256);
    let jwt = JwtConfig { audience: Some("universe".to_owned()), ..of_pem(&maker.pem()) };
    let aud = |aud: Value| judged(&jwt, &maker.token(None, json!({ "aud": aud }))).map(|_| ());
    assert_eq!(aud(json!("universe")), Ok(()));
    assert_eq!(aud(json!(["shop", "universe"])), Ok(()));
    assert_eq!(aud(json!("shop")), Err(AuthError::WrongAudience));
    assert_eq!(aud(json!(["shop", "universe2"])), Err(AuthError::WrongAudience));
    assert_eq!(aud(json!([])), Err(AuthError::WrongAudience));
    assert_eq!(aud(json!(null)), Err(AuthError::MissingClaim("aud")));
    assert_eq!(aud(json!(7)), Err(AuthError::BadClaim("aud")));
    assert_eq!(judged(&jwt, &maker.token(None, json!({}))), Err(AuthError::MissingClaim("aud")));
}

#[test]
fn with_an_issuer_a_token_must_be_from_it() {
    let maker = Maker::new(Algorithm::ES256);
    let jwt = JwtConfig { issuer: Some("https://id.example".to_owned()), ..of_pem(&maker.pem()) };
    let iss = |iss: Value| judged(&jwt, &maker.token(None, json!({ "iss": iss }))).map(|_| ());
    assert_eq!(iss(json!("https://id.example")), Ok(()));
    assert_eq!(iss(json!("https://id.example/")), Err(AuthError::WrongIssuer));
    assert_eq!(iss(json!(null)), Err(AuthError::MissingClaim("iss")));
    assert_eq!(iss(json!(["https://id.example"])), Err(AuthError::BadClaim("iss")));
    // Nobody asked for one: any, or none.
    accepted(&of_pem(&maker.pem()), &maker.token(None, json!({ "iss": "x" })));
}

#[test]
fn the_kid_chooses_among_the_keys_of_a_set() {
    let (old, new) = (Maker::new(Algorithm::ES256), Maker::new(Algorithm::ES256));
    let jwt = of_jwks(&[old.jwk("old"), new.jwk("new")]);
    accepted(&jwt, &old.token(Some("old"), json!({})));
    accepted(&jwt, &new.token(Some("new"), json!({})));
    accepted(&jwt, &new.token(None, json!({})));
    assert_eq!(judged(&jwt, &new.token(Some("old"), json!({}))), Err(AuthError::BadSignature));
    assert_eq!(judged(&jwt, &new.token(Some("newer"), json!({}))), Err(AuthError::UnknownKey));
}

/// What SIGHUP does: the keys of the settings as they are then.
#[test]
fn a_reload_takes_new_keys_and_lets_old_ones_go() {
    let (old, new) = (Maker::new(Algorithm::EdDSA), Maker::new(Algorithm::EdDSA));
    let verifier = Verifier::new(&of_pem(&old.pem()), RegionName::new("eu").unwrap());
    let verify = |maker: &Maker| verifier.verify(&Token::new(maker.token(None, json!({}))), 1000 * NOW_S).map(|_| ());
    assert_eq!((verify(&old), verify(&new)), (Ok(()), Err(AuthError::BadSignature)));
    // Both for a while, then only the new one.
    assert_eq!(verifier.reload(&of_pem(&(old.pem() + &new.pem()))).keys, 2);
    assert_eq!((verify(&old), verify(&new)), (Ok(()), Ok(())));
    verifier.reload(&of_pem(&new.pem()));
    assert_eq!((verify(&old), verify(&new)), (Err(AuthError::BadSignature), Ok(())));
}

fn bad_pem(text: &str) -> BadKey {
    read_pem(text.as_bytes()).expect_err("must be refused")
}

#[test]
fn what_is_no_public_key_in_pem_is_refused_and_not_shown() {
    assert_eq!(bad_pem(WEAK_RSA), BadKey::RsaBits { bits: 1024 });
    assert_eq!(bad_pem(""), BadKey::NoPublicKey);
    assert_eq!(bad_pem("a secret of some kind"), BadKey::NoPublicKey);
    assert_eq!(bad_pem("-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----\n"), BadKey::NotPem);
    assert_eq!(bad_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), BadKey::UnknownKind);
    for maker in Maker::all() {
        let private = maker.pair.serialize_pem();
        let said = bad_pem(&private);
        assert_eq!(said, BadKey::NotPublic);
        assert!(!private.lines().any(|line| said.to_string().contains(line)));
    }
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    assert_eq!(bad_pem(&p384.public_key_pem()), BadKey::UnknownKind);
    // A point that is not on the curve.
    let mut der = Maker::new(Algorithm::ES256).pair.subject_public_key_info();
    *der.last_mut().unwrap() ^= 1;
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(&der)
    );
    assert_eq!(bad_pem(&pem), BadKey::UnknownKind);
}

fn bad_jwks(keys: &[Value], source: KeySource) -> BadKey {
    read_jwks(&jwks(keys), source).expect_err("must be refused")
}

#[test]
fn a_weak_key_in_a_file_is_an_error_and_in_a_url_left_out() {
    let good = Maker::new(Algorithm::ES256).jwk("good");
    let weak_rsa = json!({ "kty": "RSA", "kid": "weak", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode([0xff; 128]) });
    let off_curve = json!({ "kty": "EC", "crv": "P-256", "x": good["x"], "y": good["x"] });
    let short = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode([1; 31]) });
    for (weak, why) in [
        (weak_rsa, BadKey::RsaBits { bits: 1024 }),
        (off_curve, BadKey::UnknownKind),
        (short, BadKey::ShortSecret { bytes: 31 }),
    ] {
        assert_eq!(bad_jwks(&[good.clone(), weak.clone()], KeySource::File), why);
        assert_eq!(bad_jwks(std::slice::from_ref(&weak), KeySource::Url), BadKey::NoneUsable);
        assert_eq!(read_jwks(&jwks(&[weak, good.clone()]), KeySource::Url).unwrap().len(), 1);
    }
}

#[test]
fn a_symmetric_key_is_taken_from_a_file_and_never_from_a_url() {
    let key = json!({ "kty": "oct", "kid": "s", "k": URL_SAFE_NO_PAD.encode([7; 32]) });
    accepted(&of_jwks(std::slice::from_ref(&key)), &hs256(&[7; 32], Some("s")));
    assert_eq!(bad_jwks(&[key], KeySource::Url), BadKey::NoneUsable);
}

#[test]
fn keys_for_other_purposes_are_left_out() {
    let maker = Maker::new(Algorithm::ES256);
    let with = |field: &str, value: Value| {
        let mut jwk = maker.jwk("k");
        jwk[field] = value;
        jwk
    };
    for other in [
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("alg", json!("ES384")),
        with("kty", json!("quantum")),
        with("crv", json!("P-521")),
        with("kid", json!(7)),
        json!("no key"),
        json!({}),
    ] {
        assert_eq!(bad_jwks(&[other], KeySource::File), BadKey::NoneUsable);
    }
    let fit = [with("use", json!("sig")), with("key_ops", json!(["verify"])), with("alg", json!("ES256"))];
    assert_eq!(read_jwks(&jwks(&fit), KeySource::File).unwrap().len(), 3);
}

#[test]
fn what_is_no_set_of_keys_is_refused_without_repeating_it() {
    let secret = "hunter2hunter2hunter2hunter2hunter2";
    for text in ["", "{}", "[]", "{\"keys\":{}}", &format!("{{\"keys\": \"{secret}\"}}")] {
        let why = read_jwks(text.as_bytes(), KeySource::File).expect_err("must be refused");
        assert!(matches!(why, BadKey::NotJwks(_)) && !why.to_string().contains(secret), "{text}: {why}");
    }
    let many = vec![Maker::new(Algorithm::EdDSA).jwk("k"); 33];
    assert_eq!(bad_jwks(&many, KeySource::Url), BadKey::TooMany { found: 33, max: 32 });
    let endless = vec![b' '; sectorbus_node::auth::JWKS_BYTES_MAX + 1];
    assert!(matches!(read_jwks(&endless, KeySource::Url), Err(BadKey::NotJwks(_))));
}

#[test]
fn a_key_is_never_shown() {
    let jwt = JwtConfig::from(Secret::new(*b"hunter2hunter2hunter2hunter2hunt").unwrap());
    assert!(!format!("{jwt:?}").contains("hunter2"), "{jwt:?}");
}
