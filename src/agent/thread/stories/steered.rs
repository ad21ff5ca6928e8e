//! Stories of what is said to a turn that runs.

use super::*;

#[test]
fn what_is_said_meanwhile_is_told_apart_by_its_id() {
    let mut story = Story::new(Limits::default());
    story.start("m", "t1");
    story.prepared("t1", vec![spec("crm", "look_up", false)]);
    story.answered(vec![call("c", "crm", "look_up")]);
    story.steer("slow", "t1", "ann");
    story.steer("quick", "t1", "ann");
    // The files of the first one are not fetched yet.
    story.loaded("quick");
    story.ran("c");
    assert_eq!(story.emitted("turn.steered")["source_message_id"], "quick");
    story.loaded("slow");
    let told = story.answered(vec![answer("done")]);
    assert!(told.contains(&"turn.steered".to_owned()) && told.contains(&"ask".to_owned()), "{told:?}");
    assert_eq!(story.emitted("turn.steered")["source_message_id"], "slow");
}
