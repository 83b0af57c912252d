//! Files that administrators write.

use push_server::fuzzing::outcome::Outcome::{Refused, Taken};

use super::Seed;

pub(super) fn seeds() -> Vec<Seed> {
    let files = [
        ("users", "each-kind", Taken, USERS),
        ("users", "nobody", Taken, "# nobody yet\n\n"),
        ("users", "too-costly", Refused, "a:$argon2id$v=19$m=999999999,t=2,p=1$AAAAAAAAAAA$AAAA\n"),
        ("users", "no-hash", Refused, "alice:secret\n"),
        ("users", "twice", Refused, "a:$6$QUFBQQ==$AA==\na:$6$QUFBQQ==$AA==\n"),
        ("users", "no-colon", Refused, "alice\n"),
        ("acl", "each-key", Taken, RULES),
        ("acl", "nothing", Taken, ""),
        ("acl", "no-toml", Refused, "[[allow]\npublish = \n"),
        ("acl", "no-group", Refused, "[[allow]]\ngroups = [\"none\"]\npublish = [\"a\"]\n"),
        ("acl", "no-filter", Refused, "[[deny]]\npublish = [\"a/#/b\", \"$share/g/a\"]\n"),
        ("acl", "unknown-key", Refused, "[[allow]]\ntopics = [\"a\"]\n"),
        ("acl_import", "each-line", Taken, MOSQUITTO),
        ("jwt_keys", "set", Taken, KEYS),
        ("jwt_keys", "pem", Taken, PEM),
        ("jwt_keys", "weak-secret", Refused, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}"),
        (
            "jwt_keys",
            "no-curve",
            Refused,
            "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-999\",\"x\":\"AA\",\"y\":\"AA\"}]}",
        ),
        ("jwt_keys", "none", Refused, "{\"keys\":[]}"),
        ("jwt_keys", "no-end", Refused, "-----BEGIN PUBLIC KEY-----\nAAAA\n"),
        ("acl_import", "unknown", Refused, "topic\nuser\nfoo bar\npattern read a/#/b\n"),
    ];
    files.map(|(target, name, outcome, text)| Seed::new(target, name, outcome, text.into())).into()
}

/// Names are of nobody, and so are the hashes.
const USERS: &str = "\
# A comment.
alice:$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
alice:SCRAM-SHA-256$4096:AAECAwQFBgc=$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
bob SCRAM-SHA-256$16384:AAECAwQFBgc=$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
carol:$7$101$AAECAwQFBgcICQoL$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==
dave:$6$AAECAwQFBgcICQoL$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==
";

/// Keys of nobody.
const KEYS: &str = "\
{\"keys\": [
  {\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"kid\": \"ed\", \"use\": \"sig\", \"x\": \"8bQwjzJ9DZkCjfXdNhOSNwrUawkqKY-FLYEoxzob6gI\"},
  {\"kty\": \"oct\", \"kid\": \"hs\", \"alg\": \"HS256\", \"k\": \"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0\"},
  {\"kty\": \"RSA\", \"use\": \"enc\", \"n\": \"AQAB\", \"e\": \"AQAB\"}
]}
";

const PEM: &str = "\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA8bQwjzJ9DZkCjfXdNhOSNwrUawkqKY+FLYEoxzob6gI=
-----END PUBLIC KEY-----
";

const RULES: &str = "\
[groups]
operators = [\"alice\", \"bob\"]

[[allow]]
groups = [\"operators\"]
publish = [\"#\"]
subscribe = [\"#\", \"$SYS/#\"]

[[allow]]
users = [\"carol\"]
clients = [\"phone-*\", \"?\"]
addresses = [\"127.0.0.0/8\", \"2001:db8::1\"]
listeners = [\"inside\", \"0.0.0.0:1883\"]
publish = [\"devices/%u/+\"]
subscribe = [\"devices/%c/#\", \"+/news\"]

[[allow]]
anonymous = true
subscribe = [\"a/b\"]

[[deny]]
publish = [\"devices/+/secret\"]
subscribe = [\"devices/alice/up\"]
";

const MOSQUITTO: &str = "\
# Everybody's.
topic read news/#
topic deny news/secret

user alice
topic devices/alice/#
topic write commands/+
topic readwrite a b/c

pattern read devices/%u/#
pattern write up/%c
";
