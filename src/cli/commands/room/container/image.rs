//! `meshagent room container image …`.

use super::print;
use crate::cli::commands::room::connect;
use crate::cli::error::CliError;
use crate::cli::output::{self, Format, Table};
use crate::cli::resolve::{Ctx, RoomArg};
use crate::client::room::RoomClient;
use serde_json::{Value, json};

/// Work with the images that a room may run.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List images
    List {
        #[command(flatten)]
        room: RoomArg,
        /// How to print the result
        #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
        output: Format,
    },
    /// Show what an image is made of, as JSON
    Inspect {
        #[command(flatten)]
        room: RoomArg,
        /// Id or reference of the image
        #[arg(long)]
        image_id: String,
    },
    /// Delete an image that the room built, pulled or loaded
    Delete {
        #[command(flatten)]
        room: RoomArg,
        /// Reference of the image
        #[arg(long)]
        image: String,
    },
    /// Fetch an image from its registry
    Pull {
        #[command(flatten)]
        room: RoomArg,
        /// Reference of the image
        #[arg(long)]
        tag: String,
        /// A registry's user, USER,PASSWORD or REGISTRY,USER,PASSWORD; may be given several times
        #[arg(long, value_name = "CREDENTIAL", value_parser = super::credential)]
        cred: Vec<Value>,
    },
    /// Send an image to its registry
    Push {
        #[command(flatten)]
        room: RoomArg,
        /// Reference of the image
        #[arg(long)]
        tag: String,
        /// Only this participant may follow the push
        #[arg(long, overrides_with = "public")]
        private: bool,
        #[arg(long, hide = true)]
        public: bool,
        /// A registry's user, USER,PASSWORD or REGISTRY,USER,PASSWORD; may be given several times
        #[arg(long, value_name = "CREDENTIAL", value_parser = super::credential)]
        cred: Vec<Value>,
    },
    /// Take the images of an archive of room storage in
    Load {
        #[command(flatten)]
        room: RoomArg,
        /// Path of the archive in room storage, beginning with /
        #[arg(short = 'i', long, alias = "image", value_name = "PATH", value_parser = absolute)]
        archive_path: String,
    },
    /// Write an image as an archive into room storage
    Save {
        #[command(flatten)]
        room: RoomArg,
        /// Reference of the image
        #[arg(long)]
        tag: String,
        /// Path below one of the mounts, beginning with /
        #[arg(long, value_name = "PATH", value_parser = absolute)]
        archive_path: String,
        /// A folder of room storage and where it is mounted, such as /images:/workspace
        #[arg(long, value_name = "SOURCE:MOUNT[:rw]", value_parser = mount, required = true)]
        mount_room_path: Vec<Value>,
        /// Only this participant may follow the job
        #[arg(long, overrides_with = "public")]
        private: bool,
        #[arg(long, hide = true)]
        public: bool,
    },
}

fn absolute(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("must begin with /".to_owned()) }
}

/// `SOURCE:MOUNT[:ro|rw]` as an argument.
fn mount(text: &str) -> Result<Value, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, path, mode) = match parts[..] {
        [source, path] => (source, path, "rw"),
        [source, path, mode @ ("ro" | "rw")] => (source, path, mode),
        _ => return Err("want SOURCE:MOUNT or SOURCE:MOUNT:ro".to_owned()),
    };
    let subpath = Some(source.trim_matches('/')).filter(|source| !source.is_empty() && *source != ".");
    Ok(json!({"path": path, "subpath": subpath, "read_only": mode == "ro"}))
}

pub async fn run(ctx: &Ctx, command: Command) -> Result<(), CliError> {
    match command {
        Command::List { room, output } => {
            let images = connect(ctx, room.name()?).await?.containers().images().await?;
            list(&images, output)
        }
        Command::Inspect { room, image_id } => {
            output::json(&connect(ctx, room.name()?).await?.containers().inspect_image(&image_id).await?)
        }
        Command::Delete { room, image } => {
            connect(ctx, room.name()?).await?.containers().delete_image(&image).await?;
            output::line("Deleted")
        }
        Command::Pull { room, tag, cred } => {
            connect(ctx, room.name()?).await?.containers().pull(&tag, Value::from(cred)).await?;
            output::line("Image pulled")
        }
        Command::Push { room, tag, private, cred, .. } => {
            let client = connect(ctx, room.name()?).await?;
            let job = client.containers().push(&tag, Value::from(cred), private).await?;
            follow(&client, &job).await
        }
        Command::Load { room, archive_path } => {
            let loaded = connect(ctx, room.name()?).await?.containers().load(&archive_path).await?;
            output::line(format!("Image loaded: {loaded}"))
        }
        Command::Save { room, tag, archive_path, mount_room_path, private, .. } => {
            let client = connect(ctx, room.name()?).await?;
            let fields = json!({
                "tag": tag, "archive_path": archive_path, "private": private,
                "mounts": [{"room": mount_room_path}],
            });
            let job = client.containers().save(fields).await?;
            follow(&client, &job).await
        }
    }
}

fn list(images: &[Value], format: Format) -> Result<(), CliError> {
    match format {
        Format::Json => output::json(&images),
        Format::Table => {
            let mut table = Table::new(&["preferred_ref", "id", "created_at"]);
            images.iter().for_each(|image| table.object(image));
            table.print("no images")
        }
    }
}

/// Prints what a job says and ends as it does.
async fn follow(client: &RoomClient, job: &str) -> Result<(), CliError> {
    print(client.containers().logs(job, true).await?).await?;
    match client.containers().wait(job).await? {
        0 => Ok(()),
        code => Err(CliError::exit(u8::try_from(code).unwrap_or(1))),
    }
}
