//! What becomes of what is pushed: applied, corrected, pruned, refused; and what the history tells of it.

use super::*;

/// How many facts the log has.
fn facts(person: &Person) -> usize {
    person.run(&["events", "-o", "json"]).ok().stdout.matches("\"position\"").count()
}

#[test]
fn what_is_pushed_is_applied_corrected_and_pruned() {
    let (_server, person) = server();
    let forge = Forge::start();
    forge.write("specs/a.yaml", &room("a", "red"));
    forge.write("specs/b.yaml", &room("b", "red"));
    forge.write("README.md", "no document");
    let first = forge.push("two rooms");
    apply(&person, &source("shop", &forge.url(), "path: specs"));
    person.run(&["wait", "git-source/shop", "--timeout", "60s"]).ok();
    assert_eq!(rooms(&person), ["a", "b"]);
    let at = status(&person, "shop");
    assert_eq!(
        (at["lastAppliedRevision"].as_str(), at["subject"].as_str()),
        (Some(first.as_str()), Some("two rooms"))
    );
    assert_eq!(at["author"], "Ann <ann@example.com>");

    // Changed by hand, and put back.
    person
        .run(&[
            "apply",
            "-f",
            &person.file("hand.yaml", &room("a", "blue")),
            "--source",
            "hand",
            "--force-conflicts",
        ])
        .ok();
    refused(&person, "shop", &["specs/a.yaml:1: Room `a`", "the source `hand` holds this field"]);
    person
        .run(&["apply", "-f", &person.file("none.yaml", &room("c", "green")), "--source", "hand", "--prune"])
        .ok();
    reconcile(&person, "shop");
    let back = person.run(&["get", "room", "a", "-o", "json"]).json();
    assert_eq!(back["annotations"]["team"], "red", "{back}");

    // Nothing new, no fact but the answer.
    let before = facts(&person);
    reconcile(&person, "shop");
    let after = facts(&person);
    assert_eq!(after, before + 2, "the request and its answer, and nothing else");

    forge.remove("specs/b.yaml");
    forge.write("specs/a.yaml", &room("a", "green"));
    let second = forge.push("b goes");
    let said = reconcile(&person, "shop");
    assert!(said.contains(&second[..12]) && said.contains("b goes"), "{said}");
    assert_eq!(rooms(&person), ["a", "c"]);
    let history = person.run(&["history", "room/a"]).ok().stdout;
    assert!(history.contains(&format!("controller:git for git:shop@{second}")), "{history}");
    let why = person.run(&["why", "room/a"]).ok().stdout;
    assert!(why.contains(&format!("applied by git:shop at commit {second}")), "{why}");
    let gone = person.run(&["history", "room/b"]).ok().stdout;
    assert!(gone.contains("room.deleted") && gone.contains(&second), "{gone}");
}

#[test]
fn drift_is_put_right_and_pushes_are_seen_by_themselves() {
    let (mut server, person) = server();
    let forge = Forge::start();
    forge.write("a.yaml", &room("a", "red"));
    forge.push("one");
    let often = source("shop", &forge.url(), "").replace("3600", "5");
    apply(&person, &often);
    eventually("the room is made", || rooms(&person) == ["a"]);
    person.run(&["delete", "room/a"]).ok();
    eventually("the room is made again", || rooms(&person) == ["a"]);
    // What is under way when the server is killed is done after it.
    forge.write("b.yaml", &room("b", "red"));
    forge.push("two");
    server.kill_9();
    server.restart();
    eventually("the push is seen", || rooms(&person) == ["a", "b"]);
    let made = person.run(&["events", "-o", "json", "--kind", "room.created"]).ok().stdout;
    assert_eq!(made.matches("\"position\"").count(), 3, "nothing is made twice: {made}");
}

#[test]
fn a_bad_commit_changes_nothing_and_says_what_and_where() {
    let (mut server, person) = server();
    let forge = Forge::start();
    forge.write("a.yaml", &room("a", "red"));
    let good = forge.push("good");
    apply(&person, &source("shop", &forge.url(), ""));
    person.run(&["wait", "git-source/shop", "--timeout", "60s"]).ok();
    forge.write("a.yaml", &room("a", "blue"));
    forge.write("sub/b.yaml", "version: v1\nkind: Room\nmetadata: {name: b}\nenabeld: true\n");
    let bad = forge.push("bad");
    refused(&person, "shop", &["sub/b.yaml:4:1: enabeld: unknown field", "did you mean `enabled`?"]);
    assert_eq!(rooms(&person), ["a"]);
    let at = status(&person, "shop");
    assert_eq!(
        (at["lastAppliedRevision"].as_str(), at["lastAttemptedRevision"].as_str()),
        (Some(good.as_str()), Some(bad.as_str()))
    );
    let why = person.run(&["why", "git-source/shop"]).ok().stdout;
    assert!(why.contains("Stalled=True DocumentsInvalid") && why.contains("sub/b.yaml:4:1"), "{why}");

    // The same after a crash.
    server.kill_9();
    server.restart();
    refused(&person, "shop", &["sub/b.yaml:4:1"]);
    forge.remove("sub/b.yaml");
    forge.push("mended");
    reconcile(&person, "shop");
    let team = person.run(&["get", "room", "a", "-o", "json"]).json()["annotations"]["team"].clone();
    assert_eq!(team, "blue");
    // What cannot be applied to what is there is told with its place as well.
    forge.write("t.yaml", "version: v1\nkind: ScheduledTask\nmetadata: {name: t, annotations: {meshagent.room: gone}}\nschedule: 1 day\nqueue: {name: q}\n");
    forge.push("no such room");
    refused(&person, "shop", &["t.yaml:1: ScheduledTask `t`", "there is no room `gone`"]);
}

#[test]
fn force_pushes_deleted_branches_and_dead_forges() {
    let (_server, person) = server();
    let forge = Forge::start();
    forge.write("a.yaml", &room("a", "red"));
    forge.push("one");
    forge.write("b.yaml", &room("b", "red"));
    forge.push("two");
    apply(&person, &source("shop", &forge.url(), "branch: main"));
    person.run(&["wait", "git-source/shop", "--timeout", "60s"]).ok();
    assert_eq!(rooms(&person), ["a", "b"]);
    forge.git(&["reset", "-q", "--hard", "HEAD~1"]);
    forge.write("c.yaml", &room("c", "red"));
    let forced = forge.push("another two");
    assert!(reconcile(&person, "shop").contains(&forced[..12]));
    assert_eq!(rooms(&person), ["a", "c"]);

    forge.set_down(true);
    refused(&person, "shop", &["cannot be fetched"]);
    let at = status(&person, "shop");
    assert_eq!(at["conditions"][1]["type"], "Reconciling", "it is tried again: {at}");
    forge.set_down(false);
    eventually("the source is well again by itself", || status(&person, "shop")["lastError"].is_null());

    let bare = forge.bare();
    std::fs::write(bare.join("HEAD"), "ref: refs/heads/other\n").unwrap();
    std::fs::remove_file(bare.join("refs/heads/main")).unwrap();
    refused(&person, "shop", &["has no `heads/main`", "nothing was changed"]);
    assert_eq!(rooms(&person), ["a", "c"], "a branch that is gone prunes nothing");
    person.run(&["source", "suspend", "shop"]).ok();
    person.run(&["source", "reconcile", "shop"]).fails(1, &["is suspended", "source resume"]);
    person.run(&["source", "list"]).ok();
    person.run(&["source", "resume", "shop"]).ok();
    person.run(&["source", "delete", "shop"]).ok();
    assert_eq!(rooms(&person), ["a", "c"], "what it applied stays");
    person.run(&["source", "get", "shop"]).fails(1, &["there is no git source `shop`"]);
}

#[test]
fn two_thousand_files_are_one_change() {
    let (_server, person) = server();
    let forge = Forge::start();
    for n in 0..2_000 {
        forge.write(&format!("specs/{}/r{n}.yaml", n % 10), &room(&format!("r{n}"), "red"));
    }
    forge.push("many");
    apply(&person, &source("many", &forge.url(), "path: specs"));
    person.run(&["wait", "git-source/many", "--timeout", "90s"]).ok();
    assert_eq!(status(&person, "many")["documents"], 2_000);
    assert!(person.run(&["history", "room/r1999"]).ok().stdout.contains("git:many@"));
}

#[test]
fn sources_wait_for_each_other_and_do_not_take_what_is_anothers() {
    let (_server, person) = server();
    let (base, shop) = (Forge::start(), Forge::start());
    base.write("desk.yaml", &room("desk", "red"));
    base.set_down(true);
    base.push("base");
    shop.write("task.yaml", "version: v1\nkind: ScheduledTask\nmetadata: {name: t, annotations: {meshagent.room: desk}}\nschedule: 1 day\nqueue: {name: q}\n");
    shop.push("shop");
    let both = format!(
        "{}---\n{}",
        source("base", &base.url(), ""),
        source("shop", &shop.url(), "depends_on: [base]")
    );
    apply(&person, &both);
    eventually("the base is tried", || status(&person, "base")["lastError"].is_string());
    let waits = status(&person, "shop");
    assert_eq!(waits["conditions"][1]["reason"], "DependencyNotReady", "{waits}");
    base.set_down(false);
    reconcile(&person, "base");
    person.run(&["wait", "git-source/shop", "--timeout", "60s"]).ok();

    // Adopted by another source: let go of, and there still.
    person.run(&["apply", "-f", &person.file("desk.yaml", &room("desk", "red")), "--source", "hand"]).ok();
    base.remove("desk.yaml");
    base.push("no desk");
    reconcile(&person, "base");
    assert_eq!(rooms(&person), ["desk"]);
    // A field that another one has otherwise is named with it.
    shop.write("desk.yaml", &room("desk", "blue"));
    shop.push("my desk");
    refused(&person, "shop", &["desk.yaml:1: Room `desk`: metadata.annotations.team", "the source `hand`"]);
    // What was exported can be applied and changes nothing: the sources are among it.
    person.run(&["export", "out"]).ok();
    person.run(&["diff", "-f", "out"]).ok();
}
