//! Rooms, their status and events, the way into them, and their sessions.

use super::{Connection, ProjectRest, RestError, Room, RoomEvent, RoomStatus, Session, optional};
use serde_json::{Value, json};

impl ProjectRest {
    /// Makes a room. With `if_not_exists`, an existing one is returned as it is.
    pub async fn create_room(
        &self,
        name: &str,
        if_not_exists: bool,
        metadata: &Value,
        annotations: &Value,
    ) -> Result<Room, RestError> {
        let body = json!({
            "name": name, "if_not_exists": if_not_exists, "metadata": metadata,
            "annotations": annotations, "permissions": null,
        });
        self.rest.post_as(&self.at(&["rooms"]), &body).await
    }

    /// All rooms: the caller's own (`my`) or the project's (`all`).
    pub async fn rooms(&self, all: bool, filter: Option<&str>) -> Result<Vec<Room>, RestError> {
        let mut query = vec![("view", if all { "all" } else { "my" }.to_owned())];
        query.extend(filter.map(|filter| ("filter", filter.to_owned())));
        self.rest.pages(&self.at(&["rooms"]), &query, "rooms").await
    }

    /// A room by name or id.
    pub async fn room(&self, name_or_id: &str) -> Result<Option<Room>, RestError> {
        optional(self.rest.get_as(&self.at(&["rooms", name_or_id]), &[]).await)
    }

    /// Changes a room; members that are absent from `change` stay.
    pub async fn update_room(&self, id: &str, change: &Value) -> Result<(), RestError> {
        self.rest.put(&self.at(&["rooms", id]), change).await.map(drop)
    }

    pub async fn delete_room(&self, id: &str) -> Result<(), RestError> {
        self.rest.delete(&self.at(&["rooms", id])).await.map(drop)
    }

    pub async fn room_status(&self, name: &str) -> Result<RoomStatus, RestError> {
        self.rest.get_as(&self.at(&["rooms", name, "status"]), &[]).await
    }

    pub async fn room_events(&self, name: &str, limit: usize) -> Result<Vec<RoomEvent>, RestError> {
        let segments = self.at(&["rooms", name, "events"]);
        let mut answer = self.rest.get(&segments, &[("limit", limit.to_string())]).await?;
        super::parse("room events", answer["events"].take())
    }

    /// Asks for a way into the room; starts it if needed.
    pub async fn connect(&self, room: &str) -> Result<Connection, RestError> {
        self.rest.post_as(&self.at(&["rooms", room, "connect"]), &json!({})).await
    }

    /// As [`Self::connect`], as a user of the room with what its role may do.
    pub async fn connect_as(&self, room: &str, email: &str) -> Result<Connection, RestError> {
        self.rest.post_as(&self.at(&["rooms", room, "connect"]), &json!({"email": email})).await
    }

    /// The latest sessions, newest first.
    pub async fn sessions(&self, limit: usize, room_id: Option<&str>) -> Result<Vec<Session>, RestError> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(room_id.map(|id| ("room_id", id.to_owned())));
        let mut answer = self.rest.get(&self.at(&["sessions"]), &query).await?;
        super::parse("sessions", answer["sessions"].take())
    }

    pub async fn session_events(&self, id: &str) -> Result<Value, RestError> {
        self.rest.get(&self.at(&["sessions", id, "events"]), &[]).await
    }

    /// Traced work of a session, oldest first.
    pub async fn session_spans(&self, id: &str) -> Result<Vec<Value>, RestError> {
        let mut answer = self.rest.get(&self.at(&["sessions", id, "spans"]), &[]).await?;
        super::parse("spans", answer["spans"].take())
    }

    /// Measured values of a session, oldest first.
    pub async fn session_metrics(&self, id: &str) -> Result<Vec<Value>, RestError> {
        let mut answer = self.rest.get(&self.at(&["sessions", id, "metrics"]), &[]).await?;
        super::parse("metrics", answer["metrics"].take())
    }

    pub async fn session(&self, id: &str) -> Result<Value, RestError> {
        self.rest.get(&self.at(&["sessions", id]), &[]).await
    }

    /// Ends a session; its participants are told.
    pub async fn terminate_session(&self, id: &str) -> Result<(), RestError> {
        self.rest.post(&self.at(&["sessions", id, "terminate"]), &json!({})).await.map(drop)
    }

    /// Ends a session at once.
    pub async fn kill_session(&self, id: &str) -> Result<(), RestError> {
        self.rest.post(&self.at(&["sessions", id, "kill"]), &json!({})).await.map(drop)
    }
}
