//! `meshagent room container exec`.

use super::terminal::Terminal;
use crate::cli::commands::room::connect;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::room::{Input, Output, OutputStream};
use std::io::{IsTerminal as _, Read as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Blocks of input that wait to be sent.
const INPUT_WAITING_MAX: usize = 16;
const BLOCK_BYTES: usize = 16 * 1024;
/// What a terminal sends when its user ends the input.
const END_OF_INPUT: u8 = 4;
/// Exit status of a stream that ended without one.
const STATUS_LOST: u8 = 1;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  meshagent room container exec --room my-room --container-id ID --tty --command sh"
)]
pub struct Args {
    #[command(flatten)]
    room: RoomArg,
    /// Id or name of the container
    #[arg(long, value_name = "ID")]
    container_id: String,
    /// Command line, split as a shell would [default: sh]
    #[arg(long, value_name = "COMMAND")]
    command: Option<String>,
    /// Run it on a terminal
    #[arg(short, long)]
    tty: bool,
}

pub async fn run(ctx: &Ctx, args: Args) -> Result<(), CliError> {
    let words = args.command.as_deref().map(|line| {
        shlex::split(line).ok_or_else(|| {
            CliError::usage(format!("--command cannot be split into words: {line:?}"))
                .hint("close its quotes")
        })
    });
    let words = words.transpose()?;
    let client = connect(ctx, args.room.name()?).await?;
    let stream = client.containers().exec(&args.container_id, words.as_deref(), args.tty).await?;
    let terminal = Terminal::raw(args.tty && std::io::stdin().is_terminal());
    let status = attend(stream, args.tty).await;
    drop(terminal);
    match u8::try_from(status?).unwrap_or(STATUS_LOST) {
        0 => Ok(()),
        status => Err(CliError::exit(status)),
    }
}

/// Passes input and output until the program ends; its status.
async fn attend(mut stream: OutputStream, tty: bool) -> Result<i64, CliError> {
    let mut resized = signal(SignalKind::window_change())?;
    let mut input = match (tty, std::io::stdin().is_terminal()) {
        // Nobody types into a program without a terminal.
        (false, true) => {
            stream.send(Input::End).await?;
            None
        }
        _ => Some(read_input()?),
    };
    if tty && let Some((width, height)) = Terminal::size() {
        stream.send(Input::Size { width, height }).await?;
    }
    loop {
        let typed = async {
            match &mut input {
                Some(input) => input.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            piece = stream.next() => match piece? {
                Some(Output::Out(data)) => output::bytes(&data)?,
                Some(Output::Err(data)) => output::error_bytes(&data),
                Some(Output::Status(status)) => return Ok(status),
                None => return Ok(i64::from(STATUS_LOST)),
            },
            data = typed => if let Some(data) = data { stream.send(Input::Data(&data)).await? } else {
                input = None;
                // A terminal's input ends by a key; the connection stays open for what the program says.
                stream.send(if tty { Input::Data(&[END_OF_INPUT]) } else { Input::End }).await?;
            },
            _ = resized.recv(), if tty => {
                if let Some((width, height)) = Terminal::size() {
                    stream.send(Input::Size { width, height }).await?;
                }
            }
        }
    }
}

/// Reads standard input on a thread of its own, which ends with the process.
fn read_input() -> Result<mpsc::Receiver<Vec<u8>>, CliError> {
    let (sender, receiver) = mpsc::channel(INPUT_WAITING_MAX);
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut block = vec![0; BLOCK_BYTES];
        while let Ok(read @ 1..) = std::io::stdin().lock().read(&mut block) {
            if sender.blocking_send(block[..read].to_vec()).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}
