//! Chromium's DevTools protocol over a pair of pipes: JSON messages, each ended by a zero byte. No port is opened, so that
//! nobody else on the machine can drive the browser.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{Mutex, oneshot};

/// How long the browser may take to answer.
const CALL_MAX: Duration = Duration::from_secs(30);
/// Largest message of the browser, bytes: a picture of a page is one.
const MESSAGE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Calls that wait for their answers at once.
const PENDING_MAX: usize = 64;

type Waiting = Arc<StdMutex<Option<HashMap<u64, oneshot::Sender<Result<Value, String>>>>>>;

/// The connection to one browser.
pub(super) struct Cdp {
    to: Arc<Mutex<ChildStdin>>,
    next: Arc<AtomicU64>,
    /// Nothing once the browser is gone.
    waiting: Waiting,
}

fn lock<T>(mutex: &StdMutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cdp {
    pub fn new(to: ChildStdin, from: ChildStdout) -> Self {
        let waiting: Waiting = Arc::new(StdMutex::new(Some(HashMap::new())));
        let cdp = Self { to: Arc::new(Mutex::new(to)), next: Arc::default(), waiting: waiting.clone() };
        let (to, next) = (cdp.to.clone(), cdp.next.clone());
        tokio::spawn(async move {
            read(from, &waiting, &to, &next).await;
            // Whoever waits is told by the end of its channel.
            lock(&waiting).take();
        });
        cdp
    }

    /// Whether the browser is there.
    pub fn is_up(&self) -> bool {
        lock(&self.waiting).is_some()
    }

    /// Asks the browser, or with a session one page of it.
    pub async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Result<Value, String> {
        let gone = || "the browser has ended".to_owned();
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (tell, told) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            let waiting = waiting.as_mut().ok_or_else(gone)?;
            if waiting.len() >= PENDING_MAX {
                return Err("the browser has too much to do; ask for less at once".to_owned());
            }
            waiting.insert(id, tell);
        }
        let asked = async {
            send(&self.to, &message(id, session, method, params)).await.map_err(|_| gone())?;
            told.await.map_err(|_| gone())?
        };
        let answer = tokio::time::timeout(CALL_MAX, asked).await;
        if let Some(waiting) = lock(&self.waiting).as_mut() {
            waiting.remove(&id);
        }
        answer.unwrap_or_else(|_| {
            Err(format!("the browser did not answer {method} within {} s", CALL_MAX.as_secs()))
        })
    }
}

fn message(id: u64, session: Option<&str>, method: &str, params: Value) -> Vec<u8> {
    let mut message = json!({"id": id, "method": method, "params": params});
    if let Some(session) = session {
        message["sessionId"] = json!(session);
    }
    let mut bytes = message.to_string().into_bytes();
    bytes.push(0);
    bytes
}

async fn send(to: &Mutex<ChildStdin>, bytes: &[u8]) -> std::io::Result<()> {
    let mut to = to.lock().await;
    to.write_all(bytes).await?;
    to.flush().await
}

async fn read(from: ChildStdout, waiting: &Waiting, to: &Arc<Mutex<ChildStdin>>, next: &AtomicU64) {
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = (&mut from).take(MESSAGE_BYTES_MAX).read_until(0, &mut bytes).await;
        if !matches!(read, Ok(count) if count > 0) || bytes.pop() != Some(0) {
            return;
        }
        let Ok(mut message) = serde_json::from_slice::<Value>(&bytes) else { return };
        if let Some(id) = message.get("id").and_then(Value::as_u64) {
            let waiter = lock(waiting).as_mut().and_then(|waiting| waiting.remove(&id));
            if let Some(waiter) = waiter {
                // It may have given up.
                let _ = waiter.send(answer(&mut message));
            }
        } else if message["method"] == "Page.javascriptDialogOpening" {
            // A page that asks is not answered: nothing of it works until then.
            let id = next.fetch_add(1, Ordering::Relaxed) + 1;
            let session = message["sessionId"].as_str();
            let accept = message["params"]["type"] == "beforeunload";
            let dismiss =
                self::message(id, session, "Page.handleJavaScriptDialog", json!({"accept": accept}));
            if send(to, &dismiss).await.is_err() {
                return;
            }
        }
    }
}

fn answer(message: &mut Value) -> Result<Value, String> {
    match message.pointer("/error/message").and_then(Value::as_str) {
        Some(error) => Err(error.to_owned()),
        None => Ok(message["result"].take()),
    }
}
