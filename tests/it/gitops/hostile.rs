//! Repositories that mean ill, and sources that point where they should not.

use super::*;

#[test]
fn nothing_outside_the_commit_is_read() {
    let (_server, person) = server();
    let forge = Forge::start();
    forge.write("a.yaml", &room("a", "red"));
    std::os::unix::fs::symlink("/etc/passwd", forge.work().join("passwd.yaml")).unwrap();
    forge.push("a link out");
    apply(&person, &source("bad", &forge.url(), ""));
    refused(&person, "bad", &["passwd.yaml: a symbolic link", "links are not followed"]);
    assert_eq!(rooms(&person), Vec::<String>::new());
    forge.remove("passwd.yaml");
    std::os::unix::fs::symlink("/", forge.work().join("root")).unwrap();
    let head = forge.push("a folder out");
    forge.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},vendor")]);
    forge.write(".gitmodules", "[submodule \"vendor\"]\n\tpath = vendor\n\turl = file:///etc\n");
    forge.git(&["commit", "-q", "-m", "a submodule"]);
    forge.git(&["push", "-q", "--force", forge.bare().to_str().unwrap(), "HEAD"]);
    let said = reconcile(&person, "bad");
    assert!(said.contains("root: a symbolic link") && said.contains("vendor: a submodule"), "{said}");
    assert_eq!(rooms(&person), ["a"]);

    forge.git(&["reset", "-q", "--hard"]);
    forge.write("huge.yaml", &format!("# {}\n", "x".repeat(5 << 20)));
    forge.push("a huge document");
    refused(&person, "bad", &["huge.yaml: 5242883 bytes", "at most"]);
    forge.remove("huge.yaml");
    // References that multiply are bounded.
    let mut bomb = "version: v1\nkind: Room\nmetadata: {name: bomb}\nproperties:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let again = vec![format!("*a{}", n - 1); 9].join(", ");
        bomb.push_str(&format!("  a{n}: &a{n} [{again}]\n"));
    }
    forge.write("bomb.yaml", &bomb);
    forge.push("a bomb");
    refused(&person, "bad", &["bomb.yaml:"]);
    assert_eq!(rooms(&person), ["a"]);
}

#[test]
fn the_servers_own_files_and_network_are_not_reached() {
    let server = Server::start(&[]);
    let person = Person::of(&server);
    let forge = Forge::start();
    forge.write("a.yaml", &room("a", "red"));
    forge.push("a");
    let of = |name: &str, url: &str, words: &[&str]| {
        apply(&person, &source(name, url, ""));
        refused(&person, name, words);
    };
    of("inside", &forge.url(), &["127.0.0.1", "--allow-host"]);
    of("files", &format!("file://{}", forge.bare().display()), &["not to be read", "--git-root"]);
    of("own", &format!("file://{}", server.data_dir().display()), &["not to be read"]);
    of("ssh", "ssh://git@127.0.0.1/a\ncredentials: {secret: none, known_hosts: x}", &["no secret `none`"]);
    assert_eq!(forge.fetches(), 0);

    let root = forge.bare().parent().unwrap().to_owned();
    let trusting = Server::start(&["--git-root", root.to_str().unwrap()]);
    let person = Person::of(&trusting);
    apply(&person, &source("files", &format!("file://{}", forge.bare().display()), ""));
    person.run(&["wait", "git-source/files", "--timeout", "60s"]).ok();
    assert_eq!(rooms(&person), ["a"]);
    apply(&person, &source("up", &format!("file://{}/../../etc", root.display()), ""));
    refused(&person, "up", &["not to be read"]);
}

/// What is fetched and too large is cleared away, and told.
#[test]
fn a_pack_that_is_too_large_is_told_and_leaves_nothing_behind() {
    let server = Server::start(&["--allow-host", "127.0.0.1", "--git-pack-mib", "1"]);
    let person = Person::of(&server);
    let forge = Forge::start();
    // Nothing that a pack could make smaller.
    let mut state = 7_u64;
    let noise: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(33 + u8::try_from((state >> 33) % 94).unwrap())
    })
    .take(3 << 20)
    .collect();
    forge.write("noise.txt", &noise);
    forge.push("noise");
    apply(&person, &source("bad", &forge.url(), ""));
    refused(&person, "bad", &["larger than 1 MiB", "--git-pack-mib"]);
    refused(&person, "bad", &["larger than 1 MiB"]);
    let mut folders = vec![server.data_dir().join("git")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            assert!(
                !entry.file_name().to_str().unwrap().starts_with("tmp_pack"),
                "{}",
                entry.path().display()
            );
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
}

/// Only where git says that there is nothing is something gone.
#[test]
fn a_folder_that_became_a_file_or_cannot_be_read_prunes_nothing() {
    let (server, person) = server();
    let forge = Forge::start();
    forge.write("specs/a.yaml", &room("a", "red"));
    forge.push("a");
    apply(&person, &source("shop", &forge.url(), "path: specs"));
    reconcile(&person, "shop");
    assert_eq!(rooms(&person), ["a"]);
    forge.remove("specs");
    forge.write("specs", "a file");
    forge.push("a file");
    refused(&person, "shop", &["no folder `specs`"]);
    assert_eq!(rooms(&person), ["a"]);
    // A kept copy that lost its objects is made anew.
    let kept = std::fs::read_dir(server.data_dir().join("git")).unwrap().map(|entry| entry.unwrap().path());
    for copy in kept.filter(|path| path.join("HEAD").exists()) {
        for pack in std::fs::read_dir(copy.join("objects/pack")).unwrap() {
            std::fs::remove_file(pack.unwrap().path()).unwrap();
        }
    }
    forge.remove("specs");
    forge.write("specs/b.yaml", &room("b", "red"));
    forge.push("b");
    reconcile(&person, "shop");
    assert_eq!(rooms(&person), ["b"]);
    forge.remove("specs");
    forge.write("other.txt", "x");
    forge.push("gone");
    reconcile(&person, "shop");
    assert_eq!(rooms(&person), Vec::<String>::new());
}

#[test]
fn private_repositories_are_read_with_a_secret_and_only_signed_commits_are_applied() {
    let (_server, person) = server();
    let forge = Forge::start();
    forge.write("a.yaml", &room("a", "red"));
    forge.push("unsigned");
    // robot:s3cret
    forge.want_credentials("cm9ib3Q6czNjcmV0");
    let key = person.home().join("key");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "ann", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let more = format!(
        "credentials: {{secret: forge, username: robot}}\nverify:\n  allowed_signers: 'ann@example.com {}'",
        public.trim()
    );
    apply(&person, &source("private", &forge.url(), &more));
    refused(&person, "private", &["`default` has no secret `forge`"]);
    let id = secret(&person, "forge", "wrong");
    refused(&person, "private", &["lets nobody in"]);
    let value = person.file("value", "s3cret\n");
    person.run(&["secret", "add-version", &id, "--value-file", &value, "--subject", "default"]).ok();
    refused(&person, "private", &["not signed by those who may"]);
    let sign = ["-c", "gpg.format=ssh", "-c"];
    let signing = format!("user.signingkey={}", key.display());
    forge.git(&[&sign[..], &[signing.as_str(), "commit", "-q", "-S", "--amend", "-m", "signed"]].concat());
    forge.git(&["push", "-q", "--force", forge.bare().to_str().unwrap(), "HEAD"]);
    reconcile(&person, "private");
    assert_eq!(rooms(&person), ["a"]);
    let events = person.run(&["events", "-o", "json"]).ok().stdout;
    assert!(!events.contains("s3cret") && !events.contains("cm9ib3Q6czNjcmV0"), "a secret is in the log");
}

/// Makes a secret of the account `default`; its id.
pub fn secret(person: &Person, name: &str, value: &str) -> String {
    let file = person.file("value", value);
    let made =
        person.run(&["secret", "create", name, "--value-file", &file, "--subject", "default", "-o", "json"]);
    made.json()["id"].as_str().unwrap().to_owned()
}
