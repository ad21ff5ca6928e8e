//! Arguments of `meshagent secret …`.

use crate::cli::args;
use crate::cli::output::OutputArgs;
use serde_json::{Map, Value};
use std::path::PathBuf;
use url::Url;

/// Work with secrets: values that agents and services use, kept sealed.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List secrets
    List {
        #[command(flatten)]
        subject: Subject,
        /// Secrets asked for at once
        #[arg(long, default_value_t = 100, hide = true)]
        page_size: u32,
        /// Only names that contain this
        #[arg(long)]
        filter: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Find secrets by what is said of them; all that is given must fit
    Search(Box<Search>),
    /// Show one secret, without its value unless asked
    Get {
        #[command(flatten)]
        subject: Subject,
        secret_id: String,
        /// Show the value too, in base64
        #[arg(long)]
        include_value: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make a secret, with a first value if one is given
    Create(Box<Create>),
    /// Sign in to another service, and keep what comes of it as a secret of the type oauth; prints its id
    Authorize(Box<Authorize>),
    /// Change what is said of a secret; what is not named stays
    Update {
        #[command(flatten)]
        subject: Subject,
        secret_id: String,
        #[arg(long)]
        name: Option<String>,
        /// What kind of value it is
        #[arg(long)]
        r#type: Option<String>,
        /// Give its values to nobody from now on
        #[arg(long, overrides_with = "not_http_only")]
        http_only: bool,
        /// Values added from now on can be read
        #[arg(long)]
        not_http_only: bool,
        #[command(flatten)]
        about: About,
    },
    /// Delete a secret with its values
    Delete {
        #[command(flatten)]
        subject: Subject,
        secret_id: String,
    },
    /// List the versions of a secret
    Versions {
        #[command(flatten)]
        subject: Subject,
        secret_id: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Give a secret a new value
    AddVersion {
        #[command(flatten)]
        subject: Subject,
        secret_id: String,
        #[command(flatten)]
        value: NewValue,
        /// Use it from now on (the default)
        #[arg(long, overrides_with = "no_set_current")]
        set_current: bool,
        /// Keep using the present one
        #[arg(long)]
        no_set_current: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Print the value of a secret
    Access {
        #[command(flatten)]
        subject: Subject,
        secret_id: String,
        /// Id of a version [default: the current one]
        #[arg(long)]
        version: Option<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Delete one version of a secret
    DeleteVersion {
        #[command(flatten)]
        subject: Subject,
        secret_id: String,
        version_id: String,
    },
    /// List the service accounts that may use a secret of yours through the proxy
    Grants {
        secret_id: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Let a service account use a secret of yours through the proxy
    GrantProxy {
        secret_id: String,
        /// Service account: address, id, key or name
        #[arg(long)]
        subject: String,
    },
    /// No longer let a service account use a secret of yours
    RevokeProxy {
        secret_id: String,
        /// Service account: address, id, key or name
        #[arg(long)]
        subject: String,
    },
    /// List the secrets that a service account pulls images with
    PullSecrets {
        /// Service account: address, id, key or name
        #[arg(long)]
        subject: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Have a service account pull images with a secret of its own
    AddPullSecret {
        /// Service account: address, id, key or name
        #[arg(long)]
        subject: String,
        secret_id: String,
    },
    /// No longer pull images with a secret
    RemovePullSecret {
        /// Service account: address, id, key or name
        #[arg(long)]
        subject: String,
        secret_id: String,
    },
    /// Seal all secrets of the server under a fresh key, while it runs (operators)
    Rekey,
    /// Print the secret that signs the project's calls and webhooks
    Webhook,
}

/// Whose secrets.
#[derive(Debug, clap::Args)]
pub struct Subject {
    /// `me`, or a service account: address, id, key or name
    #[arg(long, default_value = "me")]
    pub subject: String,
}

/// What is said of a secret.
#[derive(Debug, clap::Args)]
pub struct About {
    /// Free data, a JSON object
    #[arg(long, value_name = "JSON", value_parser = args::json_object)]
    pub metadata: Option<Map<String, Value>>,
    /// Annotations, a JSON object
    #[arg(long, value_name = "JSON", value_parser = args::json_object)]
    pub annotations: Option<Map<String, Value>>,
}

/// A value.
#[derive(clap::Args)]
pub struct NewValue {
    /// The value itself; others on this machine may see it in the process list, so prefer --value-file
    #[arg(long, conflicts_with = "value_file")]
    pub value: Option<String>,
    /// File with the value, taken byte for byte; `-` reads stdin
    #[arg(long, value_name = "FILE")]
    pub value_file: Option<PathBuf>,
}

impl std::fmt::Debug for NewValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewValue").field("value_file", &self.value_file).finish_non_exhaustive()
    }
}

#[derive(Debug, clap::Args)]
pub struct Create {
    #[command(flatten)]
    pub subject: Subject,
    pub name: String,
    /// What kind of value it is
    #[arg(long, default_value = "opaque")]
    pub r#type: String,
    /// Give its values to nobody: they are used through the proxy only
    #[arg(long)]
    pub http_only: bool,
    #[command(flatten)]
    pub about: About,
    #[command(flatten)]
    pub value: NewValue,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub struct Search {
    #[command(flatten)]
    pub subject: Subject,
    /// Text that stands in the name, the type or an annotation
    #[arg(long)]
    pub filter: Option<String>,
    /// The name, whole
    #[arg(long)]
    pub name: Option<String>,
    /// What kind of value it is
    #[arg(long)]
    pub r#type: Option<String>,
    /// Only those for the proxy
    #[arg(long, overrides_with = "not_http_only")]
    pub http_only: bool,
    /// Only those that can be read
    #[arg(long)]
    pub not_http_only: bool,
    #[command(flatten)]
    pub about: About,
    /// Who the value is for: the annotation `provider`
    #[arg(long)]
    pub provider: Option<String>,
    /// The annotation `service`
    #[arg(long)]
    pub service: Option<String>,
    /// The annotation `account`
    #[arg(long)]
    pub account: Option<String>,
    /// The annotation `username`
    #[arg(long)]
    pub username: Option<String>,
    /// The annotation `email`
    #[arg(long)]
    pub email: Option<String>,
    /// The annotation `url`
    #[arg(long)]
    pub url: Option<String>,
    /// The annotation `oauth_provider`
    #[arg(long)]
    pub oauth_provider: Option<String>,
    /// The annotation `oauth_scopes`
    #[arg(long)]
    pub oauth_scopes: Option<String>,
    /// Secrets asked for at once
    #[arg(long, default_value_t = 100)]
    pub page_size: u32,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  meshagent secret authorize wiki --subject default --mcp https://wiki.example/mcp"
)]
pub struct Authorize {
    /// Name of the secret; where it is there already it gets a new version
    pub name: String,
    #[command(flatten)]
    pub subject: Subject,
    /// Tool server to sign in to; it says where
    #[arg(long, value_name = "URL", conflicts_with_all = ["authorization_endpoint", "token_endpoint"])]
    pub mcp: Option<Url>,
    /// Where people sign in
    #[arg(long, value_name = "URL", requires = "token_endpoint", requires = "client_id")]
    pub authorization_endpoint: Option<Url>,
    /// Where tokens are given
    #[arg(long, value_name = "URL", requires = "authorization_endpoint")]
    pub token_endpoint: Option<Url>,
    /// The client, as the service knows it [default: made known there, where the service takes that]
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// File with the client's secret, if it has one; `-` is stdin
    #[arg(long, value_name = "FILE", requires = "client_id")]
    pub client_secret_file: Option<PathBuf>,
    /// A host within your own network that the tool server may name for the sign-in; may be given several times
    #[arg(long = "allow-host", value_name = "HOST[:PORT]", requires = "mcp")]
    pub allowed_hosts: Vec<String>,
    /// What to ask for; may be given several times
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// Port of this machine to come back to [default: any]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub port: u16,
    /// Do not prove codes by PKCE, for services that do not know it
    #[arg(long)]
    pub no_pkce: bool,
    /// Let the value be read, not only used through the proxy
    #[arg(long)]
    pub not_http_only: bool,
}
