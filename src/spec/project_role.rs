//! Roles of people in a project.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The roles of one member.
pub type ProjectRoles = BTreeSet<ProjectRole>;

macro_rules! roles {
    ($($name:ident = $text:literal,)*) => {
        /// What somebody may do in a project. `X_creator` makes things, `X_inventory` sees all of them, `X_manager` does both
        /// and changes and deletes them.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        pub enum ProjectRole {
            $(#[serde(rename = $text)] $name,)*
        }

        impl ProjectRole {
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

roles! {
    Member = "member",
    Admin = "admin",
    Developer = "developer",
    RoomCreator = "room_creator",
    RoomInventory = "room_inventory",
    RoomManager = "room_manager",
    SessionInventory = "session_inventory",
    AgentCreator = "agent_creator",
    AgentInventory = "agent_inventory",
    AgentManager = "agent_manager",
    RepositoryCreator = "repository_creator",
    RepositoryInventory = "repository_inventory",
    RepositoryManager = "repository_manager",
    FeedCreator = "feed_creator",
    FeedInventory = "feed_inventory",
    FeedManager = "feed_manager",
    OauthClientCreator = "oauth_client_creator",
    OauthClientInventory = "oauth_client_inventory",
    OauthClientManager = "oauth_client_manager",
    ApiKeyCreator = "api_key_creator",
    ApiKeyInventory = "api_key_inventory",
    ApiKeyManager = "api_key_manager",
    ServiceCreator = "service_creator",
    ServiceInventory = "service_inventory",
    ServiceManager = "service_manager",
    ServiceAccountCreator = "service_account_creator",
    ServiceAccountInventory = "service_account_inventory",
    ServiceAccountManager = "service_account_manager",
    ParticipantTokenCreator = "participant_token_creator",
    MailboxCreator = "mailbox_creator",
    MailboxInventory = "mailbox_inventory",
    MailboxManager = "mailbox_manager",
    RouteCreator = "route_creator",
    RouteInventory = "route_inventory",
    RouteManager = "route_manager",
    CustomDomainCreator = "custom_domain_creator",
    CustomDomainInventory = "custom_domain_inventory",
    CustomDomainManager = "custom_domain_manager",
    ScheduledTaskCreator = "scheduled_task_creator",
    ScheduledTaskInventory = "scheduled_task_inventory",
    ScheduledTaskManager = "scheduled_task_manager",
    FeedSubscriptionCreator = "feed_subscription_creator",
    FeedSubscriptionInventory = "feed_subscription_inventory",
    FeedSubscriptionManager = "feed_subscription_manager",
    LlmLoggerCreator = "llm_logger_creator",
    LlmLoggerInventory = "llm_logger_inventory",
    LlmLoggerManager = "llm_logger_manager",
    LlmProxyUser = "llm_proxy_user",
    LlmQuotaManager = "llm_quota_manager",
    UsageReporter = "usage_reporter",
    BillingManager = "billing_manager",
    GroupManager = "group_manager",
    UserProfileEditor = "user_profile_editor",
}

/// What a developer has beside what follows from these.
const OF_DEVELOPERS: [ProjectRole; 14] = [
    ProjectRole::RoomCreator,
    ProjectRole::RoomInventory,
    ProjectRole::SessionInventory,
    ProjectRole::AgentManager,
    ProjectRole::RepositoryManager,
    ProjectRole::FeedManager,
    ProjectRole::ServiceManager,
    ProjectRole::MailboxManager,
    ProjectRole::RouteManager,
    ProjectRole::ScheduledTaskManager,
    ProjectRole::FeedSubscriptionManager,
    ProjectRole::ParticipantTokenCreator,
    ProjectRole::LlmProxyUser,
    ProjectRole::UsageReporter,
];

impl ProjectRole {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.as_str() == text)
    }

    /// Whether who has this role has that one too.
    #[must_use]
    pub fn implies(self, other: Self) -> bool {
        self == other
            || self == Self::Admin
            || other == Self::Member
            || (self == Self::Developer && OF_DEVELOPERS.iter().any(|role| role.manages(other)))
            || self.manages(other)
    }

    /// Managers of things make them and see all of them.
    fn manages(self, other: Self) -> bool {
        let of = self.as_str().strip_suffix("_manager").and_then(|thing| other.as_str().strip_prefix(thing));
        self == other || matches!(of, Some("_creator" | "_inventory"))
    }
}

impl fmt::Display for ProjectRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether these roles give that one.
#[must_use]
pub fn roles_imply(roles: &ProjectRoles, wanted: ProjectRole) -> bool {
    roles.iter().any(|role| role.implies(wanted))
}

/// The fewest roles that give the same.
#[must_use]
pub fn fewest_roles(roles: &ProjectRoles) -> ProjectRoles {
    let implied = |role: &ProjectRole| roles.iter().any(|other| other != role && other.implies(*role));
    roles.iter().copied().filter(|role| !implied(role)).collect()
}

/// All that these roles give.
#[must_use]
pub fn all_roles(roles: &ProjectRoles) -> ProjectRoles {
    ProjectRole::ALL.iter().copied().filter(|role| roles_imply(roles, *role)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProjectRole::*;

    #[test]
    fn roles_give_others() {
        for role in ProjectRole::ALL {
            assert!(Admin.implies(*role) && role.implies(Member), "{role}");
            assert_eq!(ProjectRole::parse(role.as_str()), Some(*role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        for (role, other, gives) in [
            (ServiceManager, ServiceCreator, true),
            (ServiceManager, ServiceInventory, true),
            (ServiceManager, ServiceAccountCreator, false),
            (ServiceCreator, ServiceInventory, false),
            (FeedManager, FeedSubscriptionInventory, false),
            (Developer, ServiceCreator, true),
            (Developer, RoomCreator, true),
            (Developer, RoomManager, false),
            (Developer, ApiKeyCreator, false),
            (Developer, ServiceAccountInventory, false),
            (Developer, Admin, false),
            (BillingManager, Admin, false),
            (Member, RoomInventory, false),
        ] {
            assert_eq!(role.implies(other), gives, "{role} {other}");
        }
    }

    #[test]
    fn the_fewest_roles_are_kept() {
        let set = |roles: &[ProjectRole]| roles.iter().copied().collect::<ProjectRoles>();
        assert_eq!(fewest_roles(&set(&[Member, Admin, RoomCreator])), set(&[Admin]));
        assert_eq!(fewest_roles(&set(&[Member, Developer, ApiKeyCreator])), set(&[Developer, ApiKeyCreator]));
        assert_eq!(fewest_roles(&set(&[Member])), set(&[Member]));
        let all = all_roles(&set(&[RoomManager]));
        assert_eq!(all, set(&[Member, RoomCreator, RoomInventory, RoomManager]));
        assert_eq!(fewest_roles(&all), set(&[RoomManager]));
        assert_eq!(all_roles(&set(&[Admin])).len(), ProjectRole::ALL.len());
    }
}
