//! Two runtimes as one: images that mean this very binary run as processes, all others as containers.

use super::{InstanceKey, Observed, Runtime, RuntimeError, StartRequest, is_own_image};
use async_trait::async_trait;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Chooses by the image.
#[derive(Debug)]
pub struct ChosenRuntime {
    process: Arc<dyn Runtime>,
    container: Arc<dyn Runtime>,
    exits: watch::Sender<u64>,
    followers: [JoinHandle<()>; 2],
}

impl ChosenRuntime {
    /// Call within the async runtime.
    #[must_use]
    pub fn new(process: Arc<dyn Runtime>, container: Arc<dyn Runtime>) -> Self {
        let exits = watch::Sender::new(0_u64);
        let follow = |mut from: watch::Receiver<u64>| {
            let to = exits.clone();
            tokio::spawn(async move {
                while from.changed().await.is_ok() {
                    to.send_modify(|count| *count = count.wrapping_add(1));
                }
            })
        };
        let followers = [follow(process.exited()), follow(container.exited())];
        Self { process, container, exits, followers }
    }

    fn of(&self, image: &str) -> &Arc<dyn Runtime> {
        if is_own_image(image) { &self.process } else { &self.container }
    }
}

impl Drop for ChosenRuntime {
    fn drop(&mut self) {
        self.followers.iter().for_each(JoinHandle::abort);
    }
}

#[async_trait]
impl Runtime for ChosenRuntime {
    fn name(&self) -> &'static str {
        self.process.name()
    }

    fn name_for(&self, image: &str) -> &'static str {
        self.of(image).name()
    }

    async fn reach(&self, key: &InstanceKey, port: u16) -> Option<SocketAddr> {
        match self.process.observe_one(key).await {
            Ok(Observed::Absent) | Err(_) => self.container.reach(key, port).await,
            Ok(_) => self.process.reach(key, port).await,
        }
    }

    async fn is_own(&self, key: &InstanceKey, port: u16) -> bool {
        match self.process.observe_one(key).await {
            Ok(Observed::Absent) | Err(_) => self.container.is_own(key, port).await,
            Ok(_) => self.process.is_own(key, port).await,
        }
    }

    fn describe(&self) -> String {
        format!("{}; {}", self.process.describe(), self.container.describe())
    }

    async fn start(&self, request: StartRequest) -> Result<Observed, RuntimeError> {
        self.of(&request.image).start(request).await
    }

    async fn stop(&self, key: &InstanceKey, grace: Duration) -> Result<Observed, RuntimeError> {
        // An image may have changed from one kind to the other meanwhile.
        let process = self.process.stop(key, grace).await?;
        let container = self.container.stop(key, grace).await?;
        Ok(if container == Observed::Absent { process } else { container })
    }

    async fn observe(&self) -> Result<Vec<(InstanceKey, Observed)>, RuntimeError> {
        let mut all = self.process.observe().await?;
        let seen: Vec<_> = self.container.observe().await?;
        for (key, observed) in seen {
            match all.iter().position(|(known, _)| *known == key) {
                Some(at) if all[at].1 == Observed::Absent => all[at].1 = observed,
                Some(_) => {}
                None => all.push((key, observed)),
            }
        }
        Ok(all)
    }

    fn exited(&self) -> watch::Receiver<u64> {
        self.exits.subscribe()
    }
}
