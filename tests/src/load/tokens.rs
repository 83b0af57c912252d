//! `push-load tokens`: tokens that ES256 signs, and the key that checks them.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, SigningKey as _};
use serde_json::json;

use super::options::Tokens;

/// How long a token is valid.
const VALID: Duration = Duration::from_secs(24 * 3_600);

/// Bytes of a coordinate of P-256.
const COORDINATE_BYTES: usize = 32;

/// Makes them.
pub(super) fn run(options: &Tokens) -> anyhow::Result<()> {
    let key = KeyPair::generate().context("cannot make a key")?;
    // Uncompressed (SEC 1, section 2.3.3): 4, x, y.
    let point = key.public_key_raw();
    let [x, y] = [1, 1 + COORDINATE_BYTES].map(|at| {
        let coordinate = point.get(at..at + COORDINATE_BYTES);
        coordinate.map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).ok_or(anyhow!("no key of P-256"))
    });
    let jwk =
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "bench", "x": x?, "y": y?});
    let until = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)? + VALID;
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "kid": "bench"}).to_string());
    let mut logins = String::new();
    for number in 0..options.count {
        let user = format!("user-{number}");
        let claims = json!({"sub": user, "exp": until.as_secs()}).to_string();
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = key.sign(signed.as_bytes()).context("cannot sign")?;
        let signature = fixed(&signature).ok_or(anyhow!("not a signature of ECDSA"))?;
        writeln!(logins, "{user}\t{signed}.{}", URL_SAFE_NO_PAD.encode(signature))?;
    }
    let folder = &options.folder;
    fs::write(folder.join("keys.json"), json!({"keys": [jwk]}).to_string())?;
    fs::write(folder.join("logins"), logins)?;
    Ok(())
}

/// The two numbers of a signature side by side, as tokens have them (RFC 7518, section 3.4), from DER (RFC 3279, section
/// 2.2.3).
fn fixed(der: &[u8]) -> Option<[u8; 2 * COORDINATE_BYTES]> {
    let [0x30, _, numbers @ ..] = der else { return None };
    let (r, rest) = number(numbers)?;
    let (s, _) = number(rest)?;
    let mut fixed = [0; 2 * COORDINATE_BYTES];
    fixed[COORDINATE_BYTES - r.len()..COORDINATE_BYTES].copy_from_slice(r);
    fixed[2 * COORDINATE_BYTES - s.len()..].copy_from_slice(s);
    Some(fixed)
}

/// An INTEGER without the zeros in front, and what follows it.
fn number(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x02, len, rest @ ..] = der else { return None };
    let (number, rest) = rest.split_at_checked(usize::from(*len))?;
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = &number[zeros..];
    (number.len() <= COORDINATE_BYTES).then_some((number, rest))
}
