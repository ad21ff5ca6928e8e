//! One connection that hears `NOTIFY`, and comes back when it is lost.

use std::future::poll_fn;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls, Socket};

/// The channels that are listened on.
pub const NOTICE_CHANNELS: [&str; 3] = ["meshagent_log", "meshagent_queue", "meshagent_lease"];
/// Notices kept for a slow receiver; one that falls further behind is told so.
const NOTICES_KEPT: usize = 256;
/// First and longest pause between attempts to connect again.
const RECONNECT_FIRST: Duration = Duration::from_millis(100);
const RECONNECT_LONGEST: Duration = Duration::from_secs(5);

/// A wake-up from the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// `NOTIFY channel, payload`.
    Said { channel: String, payload: String },
    /// The connection was down: notices may have been lost.
    Resumed,
}

type Listening = (Client, Connection<Socket, NoTlsStream>);

/// Listens, and goes on in the background until aborted.
pub(super) async fn start(
    config: Config,
    place: String,
) -> Result<(broadcast::Sender<Notice>, AbortHandle), Error> {
    let (notices, _) = broadcast::channel(NOTICES_KEPT);
    let (ready, listening) = tokio::sync::oneshot::channel();
    let first = config.connect(NoTls).await?;
    let task = tokio::spawn(keep_listening(config, place, first, notices.clone(), ready));
    // Dropped without a word when listening failed; then the task is connecting again already.
    let _ = listening.await;
    Ok((notices, task.abort_handle()))
}

async fn keep_listening(
    config: Config,
    place: String,
    first: Listening,
    notices: broadcast::Sender<Notice>,
    ready: tokio::sync::oneshot::Sender<()>,
) {
    let (mut connection, mut ready) = (Some(first), Some(ready));
    let mut pause = RECONNECT_FIRST;
    loop {
        let listening = match connection.take() {
            Some(connection) => Ok(connection),
            None => config.connect(NoTls).await,
        };
        let ended = match listening {
            Ok((client, connection)) => hear(client, connection, &notices, ready.take(), &mut pause).await,
            Err(error) => Err(error),
        };
        ready = None;
        if let Err(error) = ended {
            tracing::warn!(%place, %error, "the connection for notifications was lost; connecting again");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_LONGEST);
    }
}

/// Hands on notices until the connection ends.
async fn hear(
    client: Client,
    mut connection: Connection<Socket, NoTlsStream>,
    notices: &broadcast::Sender<Notice>,
    ready: Option<tokio::sync::oneshot::Sender<()>>,
    pause: &mut Duration,
) -> Result<(), Error> {
    let sql = NOTICE_CHANNELS.map(|channel| format!("LISTEN {channel};")).concat();
    let mut listen = std::pin::pin!(client.batch_execute(&sql));
    let mut listening = false;
    let mut ready = ready;
    loop {
        tokio::select! {
            done = &mut listen, if !listening => {
                done?;
                listening = true;
                *pause = RECONNECT_FIRST;
                match ready.take() {
                    Some(ready) => drop(ready.send(())),
                    // Nobody listens to nobody: an error only says that there is no receiver now.
                    None => drop(notices.send(Notice::Resumed)),
                }
            }
            message = poll_fn(|context| connection.poll_message(context)) => match message {
                None => return Ok(()),
                Some(Ok(AsyncMessage::Notification(said))) => {
                    let (channel, payload) = (said.channel().to_owned(), said.payload().to_owned());
                    let _ = notices.send(Notice::Said { channel, payload });
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
            },
        }
    }
}
