//! Labels by which a container, or an image built here, says whose it is.

use crate::id::{ProjectId, RoomId, ServiceId, SessionId};
use std::collections::HashMap;
use uuid::Uuid;

/// The server that made it.
pub const SERVER: &str = "meshagent.server";
pub const PROJECT: &str = "meshagent.project";
pub const ROOM: &str = "meshagent.room";
pub const SESSION: &str = "meshagent.session";
/// Only on the containers of services.
pub const SERVICE: &str = "meshagent.service";
/// Which of the service's containers, from 0.
pub const INSTANCE: &str = "meshagent.instance";
/// Name within the room.
pub const NAME: &str = "meshagent.name";
/// The image as it was asked for.
pub const IMAGE: &str = "meshagent.image";
/// Id and name of the participant that started it.
pub const STARTED_BY: &str = "meshagent.started-by";
pub const STARTED_BY_NAME: &str = "meshagent.started-by-name";
/// `true`: only its starter works inside.
pub const PRIVATE: &str = "meshagent.private";
/// `true`: it writes into the room's files.
pub const WRITES_FILES: &str = "meshagent.writes-files";
/// Folder of this server with the container's own files.
pub const FILES: &str = "meshagent.files";
/// Mounts as they were asked for, JSON.
pub const MOUNTS: &str = "meshagent.mounts";

/// Whose a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub server: String,
    pub room: RoomId,
    pub session: Option<SessionId>,
    pub service: Option<ServiceId>,
}

impl Owner {
    /// As labels.
    #[must_use]
    pub fn labels(&self) -> HashMap<String, String> {
        let mut labels = HashMap::from([
            (SERVER.to_owned(), self.server.clone()),
            (PROJECT.to_owned(), self.room.project().to_string()),
            (ROOM.to_owned(), self.room.uuid().to_string()),
        ]);
        labels.extend(self.session.map(|session| (SESSION.to_owned(), session.uuid().to_string())));
        labels.extend(self.service.map(|service| (SERVICE.to_owned(), service.uuid().to_string())));
        labels
    }

    /// Reads them back; `None` where they are not ours.
    #[must_use]
    pub fn read(labels: &HashMap<String, String>) -> Option<Self> {
        let uuid = |name: &str| labels.get(name).and_then(|text| Uuid::parse_str(text).ok());
        let project = ProjectId::new(uuid(PROJECT)?);
        Some(Self {
            server: labels.get(SERVER)?.clone(),
            room: RoomId::new(project, uuid(ROOM)?),
            session: uuid(SESSION).map(|uuid| SessionId::new(project, uuid)),
            service: uuid(SERVICE).map(|uuid| ServiceId::new(project, uuid)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_read_back_and_strangers_are_nobody() {
        let project = ProjectId::new(Uuid::from_u128(1));
        let owner = Owner {
            server: "s".into(),
            room: RoomId::new(project, Uuid::from_u128(2)),
            session: Some(SessionId::new(project, Uuid::from_u128(3))),
            service: None,
        };
        let mut labels = owner.labels();
        assert_eq!(Owner::read(&labels), Some(owner));
        labels.insert(ROOM.into(), "not a uuid".into());
        assert_eq!(Owner::read(&labels), None);
        assert_eq!(Owner::read(&HashMap::new()), None);
    }
}
