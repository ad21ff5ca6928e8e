//! The `meshagent` command. Everything is in the library; see `meshagent::cli`.

use meshagent::child;
use meshagent::rendering;
use meshagent::runtime::sandbox;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let word = args.next();
    if word.as_ref().is_some_and(|word| word == sandbox::SUBCOMMAND) {
        // A child of the process runtime on its way to its program; returns only when that failed.
        let reason = sandbox::enter_and_exec(args);
        eprintln!("{reason}");
        return ExitCode::from(sandbox::EXIT_NOT_STARTED);
    }
    if word.as_ref().is_some_and(|word| word == rendering::SUBCOMMAND) {
        rendering::serve();
        return ExitCode::SUCCESS;
    }
    if word.is_some_and(|word| word == child::WATCH_SUBCOMMAND) {
        child::watch();
        return ExitCode::SUCCESS;
    }
    child::watched_by_own_binary();
    meshagent::cli::main()
}
