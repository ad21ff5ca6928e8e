//! The life of one tool call that the server relays between a caller and the toolkit's host, as a pure machine:
//! an event goes in, what to do comes out. No IO, no identifiers, no payloads.

/// How the caller gives its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// All of it came with the call.
    Unary,
    /// Items follow until a close.
    Open,
    Closed,
}

/// How far the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The host has not answered.
    Waiting,
    /// The host answered control/open; items follow until a close.
    Open,
    /// The call is over for the caller.
    Done,
}

/// The call as the server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relay {
    pub input: Input,
    pub output: Output,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The caller sent an item of its input stream.
    InputItem,
    /// The caller closed its input stream, or gave up listening.
    InputClose,
    /// The host answered with a result or an error.
    Result,
    /// The host answered control/open.
    ResultOpen,
    /// The host sent an item of its output stream.
    OutputItem,
    /// The host sent progress: a chunk that is no content (an object without a `type`).
    Progress,
    /// The host closed its output stream.
    OutputClose,
    CallerLost,
    HostLost,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing: the event is late or makes no sense here, and harms nobody.
    Ignore,
    /// Pass the caller's item or close on to the host.
    ToHost,
    /// Pass the host's answer on as `__response__`.
    Respond,
    /// Pass the host's chunk on.
    ToCaller,
    /// Answer the call with an error: the host is gone.
    FailCall,
    /// Send an error chunk and a close: the host is gone.
    FailStream,
    /// Tell the host that its input ends.
    CloseHost,
}

impl Relay {
    #[must_use]
    pub fn new(streamed_input: bool) -> Self {
        Self { input: if streamed_input { Input::Open } else { Input::Unary }, output: Output::Waiting }
    }

    /// True when neither side may still say something that matters.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.output == Output::Done
    }

    /// Takes one event.
    #[must_use]
    #[allow(
        clippy::match_same_arms,
        reason = "the arms stand in the order of the events, as the table in the tests does"
    )]
    pub fn on(self, event: Event) -> (Self, Action) {
        let Self { input, output } = self;
        match event {
            Event::InputItem if input == Input::Open && output != Output::Done => (self, Action::ToHost),
            Event::InputClose if input == Input::Open => {
                (Self { input: Input::Closed, output }, Action::ToHost)
            }
            Event::InputItem | Event::InputClose => (self, Action::Ignore),
            Event::Result if output == Output::Waiting => (self.done(), Action::Respond),
            Event::ResultOpen if output == Output::Waiting => {
                (Self { input, output: Output::Open }, Action::Respond)
            }
            Event::Result | Event::ResultOpen => (self, Action::Ignore),
            // A host whose tasks race may send an item before its answer; the clients keep it until the answer.
            Event::OutputItem if output != Output::Done => (self, Action::ToCaller),
            Event::Progress => (self, Action::ToCaller),
            Event::OutputClose if output == Output::Open => (self.done(), Action::ToCaller),
            Event::OutputItem | Event::OutputClose => (self, Action::Ignore),
            Event::CallerLost if input == Input::Open => (self.cut(), Action::CloseHost),
            Event::CallerLost => (self.cut(), Action::Ignore),
            Event::HostLost => match output {
                Output::Waiting => (self.cut(), Action::FailCall),
                Output::Open => (self.cut(), Action::FailStream),
                Output::Done => (self.cut(), Action::Ignore),
            },
        }
    }

    fn done(self) -> Self {
        Self { output: Output::Done, ..self }
    }

    fn cut(self) -> Self {
        let input = if self.input == Input::Open { Input::Closed } else { self.input };
        Self { input, output: Output::Done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INPUTS: [Input; 3] = [Input::Unary, Input::Open, Input::Closed];
    const OUTPUTS: [Output; 3] = [Output::Waiting, Output::Open, Output::Done];
    const EVENTS: [Event; 9] = [
        Event::InputItem,
        Event::InputClose,
        Event::Result,
        Event::ResultOpen,
        Event::OutputItem,
        Event::Progress,
        Event::OutputClose,
        Event::CallerLost,
        Event::HostLost,
    ];

    /// Every (state, event), one row per state, one column per event in the order of `EVENTS`.
    #[test]
    fn every_state_meets_every_event_as_the_table_says() {
        use Action::{
            CloseHost, FailCall, FailStream, Ignore as No, Respond, ToCaller as Call, ToHost as Host,
        };
        use Input::{Closed, Open as InOpen, Unary};
        use Output::{Done, Open, Waiting};
        #[rustfmt::skip]
        let table = [
            // state             item  close result   open     item  prog  close caller     host
            ((Unary, Waiting),  [No,   No,   Respond, Respond, Call, Call, No,   No,        FailCall]),
            ((Unary, Open),     [No,   No,   No,      No,      Call, Call, Call, No,        FailStream]),
            ((Unary, Done),     [No,   No,   No,      No,      No,   Call, No,   No,        No]),
            ((InOpen, Waiting), [Host, Host, Respond, Respond, Call, Call, No,   CloseHost, FailCall]),
            ((InOpen, Open),    [Host, Host, No,      No,      Call, Call, Call, CloseHost, FailStream]),
            ((InOpen, Done),    [No,   Host, No,      No,      No,   Call, No,   CloseHost, No]),
            ((Closed, Waiting), [No,   No,   Respond, Respond, Call, Call, No,   No,        FailCall]),
            ((Closed, Open),    [No,   No,   No,      No,      Call, Call, Call, No,        FailStream]),
            ((Closed, Done),    [No,   No,   No,      No,      No,   Call, No,   No,        No]),
        ];
        assert_eq!(table.len(), INPUTS.len() * OUTPUTS.len());
        for ((input, output), row) in table {
            for (event, want) in EVENTS.into_iter().zip(row) {
                let (_, got) = Relay { input, output }.on(event);
                assert_eq!(got, want, "({input:?}, {output:?}) on {event:?}");
            }
        }
    }

    proptest! {
        /// Whatever happens in whatever order: the caller gets one answer, at most one close, nothing typed
        /// after the end, and a host is told at most once that its input ended.
        #[test]
        fn no_order_of_events_breaks_the_promises(streamed: bool, steps in prop::collection::vec(0..EVENTS.len(), 0..40)) {
            let mut relay = Relay::new(streamed);
            let (mut answers, mut ends, mut host_ends) = (0, 0, 0);
            for step in steps {
                let event = EVENTS[step];
                let was_over = relay.is_over();
                let (next, action) = relay.on(event);
                match action {
                    Action::Respond | Action::FailCall => answers += 1,
                    Action::FailStream => ends += 1,
                    Action::CloseHost => host_ends += 1,
                    Action::ToCaller if event == Event::OutputClose => ends += 1,
                    Action::ToCaller => prop_assert!(!was_over || event == Event::Progress),
                    Action::ToHost if event == Event::InputClose => host_ends += 1,
                    Action::ToHost => prop_assert!(streamed),
                    Action::Ignore => {}
                }
                prop_assert!(!was_over || next.is_over(), "an ended call stays ended");
                relay = next;
            }
            prop_assert!(answers <= 1 && ends <= 1 && host_ends <= 1);
        }
    }
}
