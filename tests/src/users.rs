//! Lines of files of users.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::Sha512;

/// A line of mosquitto's form, whose check costs next to nothing.
pub fn line(name: &str, password: &str) -> String {
    line_that_costs(1, name, password)
}

/// A line of mosquitto's form, whose check takes so many iterations.
pub fn line_that_costs(iterations: u32, name: &str, password: &str) -> String {
    let salt = *b"twelve bytes";
    let mut hash = [0; 64];
    pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), &salt, iterations, &mut hash);
    format!("{name}:$7${iterations}${}${}\n", STANDARD.encode(salt), STANDARD.encode(hash))
}
