//! Who may visit the sites of a room that are not public, and the cookies by which browsers show it.

use super::members::room_role;
use super::token::{Bearer, Grant, Mint, ROUTE_GRANT, SIGNED_IN_GRANT, SITE_GRANT, TokenError};
use super::{App, Error};
use crate::id::RoomId;
use crate::projection::World;
use serde_json::json;

/// How long a sign-in lasts, seconds; no longer than the token.
pub const SIGN_IN_SECONDS: i64 = 8 * 60 * 60;

impl App {
    /// The bearer of a token, or of the cookie of this domain's site.
    pub async fn visitor(&self, token: &str, domain: &str) -> Result<Bearer, TokenError> {
        let bearer = self.verify_any(token).await?;
        if bearer.route.as_deref().is_some_and(|of| of != domain) {
            return Err(TokenError::OfSite);
        }
        if bearer.signed_in_with.is_some_and(|key| self.world().key(key).is_none()) {
            return Err(TokenError::UnknownKey("that signed in".to_owned()));
        }
        Ok(bearer)
    }

    /// A cookie for a site in place of a token, and the seconds it lasts.
    pub async fn site_cookie(
        &self,
        bearer: &Bearer,
        domain: &str,
        room: &str,
    ) -> Result<(String, i64), Error> {
        let left = bearer.expires_at.map_or(SIGN_IN_SECONDS, |end| end - self.clock.now().timestamp());
        let seconds = left.clamp(0, SIGN_IN_SECONDS);
        let grant = |name: &str, scope| Grant { name: name.to_owned(), scope };
        let mut mint = Mint::new(bearer.project, &bearer.name);
        mint.grants = vec![grant(ROUTE_GRANT, json!(domain))];
        if bearer.room.is_some() || bearer.site.is_some() {
            mint.grants.push(grant(SITE_GRANT, json!(room)));
        }
        if let Some(key) = bearer.key.or(bearer.signed_in_with) {
            mint.grants.push(grant(SIGNED_IN_GRANT, json!(key.to_string())));
        }
        mint.lifetime_seconds = Some(seconds);
        Ok((self.mint(mint).await?, seconds))
    }
}

/// Whether somebody may visit a room's sites: a token for the room or its sites, or, of a token that is for no room
/// or agent, a name that has a role in the room now, also by its roles in the project.
#[must_use]
pub fn may_visit(world: &World, room: RoomId, bearer: &Bearer) -> bool {
    let Some(state) = world.room(room).filter(|_| bearer.project == room.project()) else { return false };
    let named = |of: &Option<String>| of.as_deref() == Some(state.name.as_str());
    if named(&bearer.room) || named(&bearer.site) {
        return true;
    }
    let is_for_nothing = bearer.room.is_none() && bearer.site.is_none() && bearer.agent.is_none();
    is_for_nothing && room_role(world, room, &bearer.name).is_some()
}
