//! The `meshagent` command. Everything is in the library; see `meshagent::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    meshagent::cli::main()
}
