//! Skills: folders with a `SKILL.md` whose front matter says what the skill is for. The model is told where they are and
//! reads them itself (process agents §19).

use super::path::room_path;
use super::tools::lost;
use super::turn::Failure;
use crate::client::room::{RoomClient, RoomError};
use serde::Deserialize;
use std::fmt::Write;

/// Largest `SKILL.md` that is looked into, bytes.
const SKILL_BYTES_MAX: usize = 256 * 1024;
/// Skills that the model is told of.
const SKILLS_MAX: usize = 200;
/// Characters of a skill's description.
const DESCRIPTION_CHARS_MAX: usize = 1024;
/// How the file may be spelled.
const FILE_NAMES: [&str; 2] = ["SKILL.md", "skill.md"];

/// One skill, as the model is told of it.
#[derive(Debug, PartialEq, Eq)]
struct Skill {
    name: String,
    description: String,
    location: String,
}

#[derive(Deserialize)]
struct FrontMatter {
    name: String,
    description: String,
}

/// Where the folders of skills are.
enum Place<'a> {
    Room(&'a RoomClient),
    Here,
}

/// What the instructions say of the skills in `dirs`; nothing without any. Folders are those of the room where the agent
/// has its files, else of this machine.
pub async fn block(dirs: &[String], in_room: bool, client: &RoomClient) -> Result<Option<String>, Failure> {
    let place = if in_room { Place::Room(client) } else { Place::Here };
    let mut skills = Vec::new();
    for dir in dirs {
        place.collect(dir, &mut skills).await.map_err(|error| lost(&error))?;
    }
    skills.truncate(SKILLS_MAX);
    Ok((!skills.is_empty()).then(|| written(&skills)))
}

impl Place<'_> {
    /// The folder is a skill itself, or each folder in it that has the file is one. Errors: the connection is lost.
    async fn collect(&self, dir: &str, skills: &mut Vec<Skill>) -> Result<(), RoomError> {
        let dir = dir.trim_end_matches('/');
        if let Some(skill) = self.skill(dir).await? {
            skills.push(skill);
            return Ok(());
        }
        let before = skills.len();
        for folder in self.folders(dir).await? {
            skills.extend(self.skill(&format!("{dir}/{folder}")).await?);
        }
        if skills.len() == before {
            skills.push(broken(dir, dir, "it holds no SKILL.md, and no folder in it does"));
        }
        Ok(())
    }

    async fn skill(&self, folder: &str) -> Result<Option<Skill>, RoomError> {
        for file in FILE_NAMES {
            let location = format!("{folder}/{file}");
            if let Some(text) = self.read(&location).await? {
                return Ok(Some(skill(folder, location, &text)));
            }
        }
        Ok(None)
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, RoomError> {
        match self {
            Self::Here => Ok(local(path).await),
            Self::Room(client) => {
                let Some(path) = room_path(path) else { return Ok(None) };
                match client.storage().read(&path, SKILL_BYTES_MAX).await {
                    Ok((data, _)) => Ok(Some(data.into())),
                    Err(error) if error.is_lost() => Err(error),
                    Err(_) => Ok(None),
                }
            }
        }
    }

    /// Names of the folders in a folder, in order.
    async fn folders(&self, dir: &str) -> Result<Vec<String>, RoomError> {
        let mut names: Vec<String> = match self {
            Self::Here => local_folders(dir).await,
            Self::Room(client) => {
                let Some(path) = room_path(dir) else { return Ok(Vec::new()) };
                match client.storage().list(&path).await {
                    Ok(entries) => entries.into_iter().filter(|e| e.is_folder).map(|e| e.name).collect(),
                    Err(error) if error.is_lost() => return Err(error),
                    Err(_) => Vec::new(),
                }
            }
        };
        names.sort();
        names.truncate(SKILLS_MAX);
        Ok(names)
    }
}

async fn local(path: &str) -> Option<Vec<u8>> {
    let size = tokio::fs::metadata(path).await.ok().filter(std::fs::Metadata::is_file)?.len();
    if size > SKILL_BYTES_MAX as u64 {
        return Some(Vec::new());
    }
    tokio::fs::read(path).await.ok()
}

async fn local_folders(dir: &str) -> Vec<String> {
    let Ok(mut entries) = tokio::fs::read_dir(dir).await else { return Vec::new() };
    let mut names = Vec::new();
    while let (Ok(Some(entry)), true) = (entries.next_entry().await, names.len() < SKILLS_MAX) {
        if entry.path().is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    names
}

/// A skill by its file; what is wrong with it is said where its description would stand.
fn skill(folder: &str, location: String, text: &[u8]) -> Skill {
    let read = std::str::from_utf8(text).map_err(|_| "its SKILL.md is no text".to_owned());
    match read.and_then(front_matter) {
        Ok(found) => Skill {
            name: found.name,
            description: found.description.chars().take(DESCRIPTION_CHARS_MAX).collect(),
            location,
        },
        Err(why) => broken(folder, &location, &why),
    }
}

fn broken(folder: &str, location: &str, why: &str) -> Skill {
    let name = folder.rsplit('/').next().unwrap_or(folder).to_owned();
    Skill { name, description: format!("This skill cannot be used: {why}."), location: location.to_owned() }
}

/// The YAML between the two first lines of `---`.
fn front_matter(text: &str) -> Result<FrontMatter, String> {
    let text = text.trim_start_matches('\u{feff}');
    let inner = text.strip_prefix("---").and_then(|rest| rest.split_once("\n---")).map(|(inner, _)| inner);
    let inner = inner.ok_or("its SKILL.md does not begin with front matter between lines of ---")?;
    let read: FrontMatter =
        serde_yaml::from_str(inner).map_err(|error| format!("the front matter of its SKILL.md: {error}"))?;
    if read.name.trim().is_empty() || read.description.trim().is_empty() {
        return Err("its front matter needs a name and a description".to_owned());
    }
    Ok(read)
}

fn written(skills: &[Skill]) -> String {
    let mut text = String::from(
        "These skills are at hand. When one fits what is asked, read its file first and do as it says.\n<available_skills>\n",
    );
    for skill in skills {
        let _ = writeln!(
            text,
            "<skill><name>{}</name><description>{}</description><location>{}</location></skill>",
            escaped(&skill.name),
            escaped(&skill.description),
            escaped(&skill.location)
        );
    }
    text.push_str("</available_skills>\nPaths that a skill names begin at the folder of its file.");
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::room::{Options, Token, fake::FakeRoom};

    const GOOD: &str = "---\nname: pdf\ndescription: Reads <PDF> files\nlicense: MIT\n---\n# Body\n---\n";

    #[test]
    fn front_matter_is_read_and_what_is_wrong_is_told_to_the_model() {
        let read = |text: &str| skill("skills/x", "skills/x/SKILL.md".into(), text.as_bytes());
        assert_eq!((read(GOOD).name.as_str(), read(GOOD).description.as_str()), ("pdf", "Reads <PDF> files"));
        for (text, why) in [
            ("# no front matter", "does not begin with front matter"),
            ("---\nname: x\n---\n", "missing field `description`"),
            ("---\nname: [\n---\n", "the front matter of its SKILL.md"),
            ("---\nname: ''\ndescription: ''\n---\n", "needs a name"),
        ] {
            let told = read(text);
            assert!(told.description.contains(why) && told.name == "x", "{told:?}");
        }
    }

    #[tokio::test]
    async fn folders_of_this_machine_hold_skills_in_order_of_their_names() {
        let room = FakeRoom::start().await;
        let client = RoomClient::connect(Options::new(room.url.clone(), Token::new("good"))).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, file: &str, text: &str| {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join(file), text).unwrap();
        };
        put("b", "SKILL.md", GOOD);
        put("a", "skill.md", "---\nname: first\ndescription: one\n---\n");
        put("none", "README.md", "");
        let dir = format!("{}/", folder.path().display());
        let text = block(&[dir, "/no/such/folder".into()], false, &client).await.unwrap().unwrap();
        let (first, pdf) = (text.find("<name>first").unwrap(), text.find("<name>pdf").unwrap());
        assert!(first < pdf && text.contains("Reads &lt;PDF&gt; files"), "{text}");
        assert!(text.contains("holds no SKILL.md") && text.contains("/b/SKILL.md</location>"), "{text}");
        assert_eq!(block(&[], false, &client).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_agent_with_the_rooms_files_finds_its_skills_there() {
        let room = FakeRoom::start().await;
        room.with(|w| w.files.insert("skills/SKILL.md".into(), GOOD.into()));
        let client = RoomClient::connect(Options::new(room.url.clone(), Token::new("good"))).await.unwrap();
        let text = block(&["/skills".into()], true, &client).await.unwrap().unwrap();
        assert!(text.contains("<location>/skills/SKILL.md</location>"), "{text}");
    }
}
