use super::*;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn about(http_only: bool) -> About {
    About {
        name: "key".into(),
        kind: "opaque".into(),
        http_only,
        metadata: Map::new(),
        annotations: Map::new(),
    }
}

fn run(secret: &mut Option<Secret>, command: Command) -> Result<usize, Refused> {
    let events = Secret::decide(secret.as_ref(), command)?;
    for event in &events {
        *secret = Secret::evolve(secret.take(), event, DateTime::UNIX_EPOCH);
    }
    Ok(events.len())
}

fn version(n: u128, current: bool) -> Command {
    Command::AddVersion(VersionAdded { id: id(n), number: 0, sha256: "00".into(), current, by: id(1) })
}

#[test]
fn versions_are_numbered_for_ever_and_one_is_current() {
    let mut secret = None;
    let created = Created { owner: Owner::User(id(1)), by: id(1), about: about(false) };
    assert_eq!(run(&mut secret, version(9, true)), Err(Refused::NotFound));
    run(&mut secret, Command::Create(created.clone())).unwrap();
    assert_eq!(run(&mut secret, Command::Create(created)), Err(Refused::Exists));
    run(&mut secret, version(10, true)).unwrap();
    run(&mut secret, version(11, false)).unwrap();
    assert_eq!(secret.as_ref().unwrap().current, Some(id(10)));
    run(&mut secret, Command::DeleteVersion(id(11))).unwrap();
    assert_eq!(run(&mut secret, Command::DeleteVersion(id(11))), Err(Refused::NoVersion(id(11))));
    run(&mut secret, version(12, true)).unwrap();
    let state = secret.as_ref().unwrap();
    assert_eq!(state.current_version().unwrap().number, 3, "a number is not given twice");
    let json = serde_json::to_string(state).unwrap();
    assert_eq!(&serde_json::from_str::<Secret>(&json).unwrap(), state);
    run(&mut secret, Command::DeleteVersion(id(12))).unwrap();
    assert_eq!(secret.unwrap().current, None);
}

fn declared(value: DeclaredValue, http_only: bool) -> Command {
    let (owner, about) = (Owner::ServiceAccount(id(7)), about(http_only));
    Command::Declare(Declaration { owner, by: id(1), about, value })
}

fn given(n: u128) -> DeclaredValue {
    DeclaredValue::New { id: id(n), fingerprint: format!("hmac-sha256:{n}") }
}

#[test]
fn a_document_makes_a_secret_and_gives_it_other_values() {
    let mut secret = None;
    assert_eq!(
        run(&mut secret, declared(DeclaredValue::Version(id(9)), false)),
        Err(Refused::NoVersion(id(9)))
    );
    assert_eq!(run(&mut secret, declared(given(100), false)), Ok(1));
    assert_eq!(run(&mut secret, declared(DeclaredValue::Kept, false)), Ok(0), "the same is no news");
    for n in 101..=115 {
        assert_eq!(run(&mut secret, declared(given(n), false)), Ok(1));
    }
    let state = secret.as_ref().unwrap();
    assert_eq!((state.versions.len(), state.generation), (DECLARED_KEPT_MAX, 16));
    assert_eq!(state.fingerprint(), Some("hmac-sha256:115"));
    assert_eq!(state.current_version().unwrap().number, 16);
    let before = state.version_of("hmac-sha256:114", false).unwrap().id;
    assert!(state.version_of("hmac-sha256:100", false).is_none(), "it was dropped");
    assert_eq!(run(&mut secret, declared(DeclaredValue::Version(before), false)), Ok(1));
    assert_eq!(run(&mut secret, declared(DeclaredValue::Version(before), false)), Ok(0));
    assert_eq!(secret.as_ref().unwrap().fingerprint(), Some("hmac-sha256:114"));
    let other = Declaration {
        owner: Owner::ServiceAccount(id(8)),
        by: id(1),
        about: about(false),
        value: DeclaredValue::Kept,
    };
    assert!(matches!(run(&mut secret, Command::Declare(other)), Err(Refused::Invalid(_))));
    let json = serde_json::to_string(&secret).unwrap();
    assert_eq!(serde_json::from_str::<Option<Secret>>(&json).unwrap(), secret);
}

#[test]
fn a_declared_value_that_was_for_the_proxy_stays_so() {
    let mut secret = None;
    run(&mut secret, declared(given(100), true)).unwrap();
    run(&mut secret, declared(DeclaredValue::Kept, false)).unwrap();
    let state = secret.as_ref().unwrap();
    assert!(!state.readable(state.current_version().unwrap()));
    assert!(
        state.version_of("hmac-sha256:100", false).is_none(),
        "who gives the value openly gets a new version"
    );
    assert!(state.version_of("hmac-sha256:100", true).is_some());
}

#[test]
fn a_value_added_for_the_proxy_alone_is_never_readable() {
    let mut secret = None;
    let owner = Owner::User(id(1));
    run(&mut secret, Command::Create(Created { owner, by: id(1), about: about(true) })).unwrap();
    run(&mut secret, version(10, true)).unwrap();
    run(&mut secret, Command::Update(about(false))).unwrap();
    run(&mut secret, version(11, true)).unwrap();
    let state = secret.unwrap();
    let readable: Vec<bool> = state.versions.iter().map(|v| state.readable(v)).collect();
    assert_eq!(readable, [false, true]);
}

#[test]
fn grants_are_for_users_secrets() {
    let mut secret = None;
    let owner = Owner::User(id(1));
    run(&mut secret, Command::Create(Created { owner, by: id(1), about: about(true) })).unwrap();
    assert!(!secret.as_ref().unwrap().usable_by(id(2), true));
    assert_eq!(run(&mut secret, Command::GrantProxy(id(2))), Ok(1));
    assert_eq!(run(&mut secret, Command::GrantProxy(id(2))), Ok(0), "granting twice is no news");
    assert!(secret.as_ref().unwrap().usable_by(id(2), true));
    assert!(!secret.as_ref().unwrap().usable_by(id(1), false), "not in the name of its owner's account");
    run(&mut secret, Command::RevokeProxy(id(2))).unwrap();
    assert!(
        !secret.as_ref().unwrap().usable_by(id(2), true) && secret.as_ref().unwrap().usable_by(id(1), true)
    );
    let mut own = None;
    let owner = Owner::ServiceAccount(id(1));
    run(&mut own, Command::Create(Created { owner, by: id(1), about: about(true) })).unwrap();
    assert_eq!(run(&mut own, Command::GrantProxy(id(2))), Err(Refused::NotAUsers));
    let nameless = About { name: " ".into(), ..about(false) };
    assert!(matches!(run(&mut own, Command::Update(nameless)), Err(Refused::Invalid(_))));
}
