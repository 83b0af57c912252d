//! `push-load`: many MQTT clients in one process. See `push-load --help`.

use std::process::ExitCode;

use clap::Parser as _;
use push_tests::load::{self, options::Options};

fn main() -> ExitCode {
    // Wrong usage ends here, with exit code 2.
    let options = Options::parse();
    match load::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("push-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
