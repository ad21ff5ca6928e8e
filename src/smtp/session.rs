//! One conversation, as a state machine: lines in, steps out. Pure; [`super::connection`] takes the steps.

use super::desk::{Credentials, Destination, Door, Envelope, Offer, Submitter};
use super::reply::Reply;
use crate::mail::Address;
use crate::vault::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smtp_proto::{AUTH_LOGIN, AUTH_PLAIN, MailFrom, RcptTo, Request};
use std::borrow::Cow;

/// Recipients of one message.
pub(crate) const RECIPIENTS_MAX: usize = 100;
/// Messages over one connection.
const MESSAGES_MAX: u32 = 100;
/// Refused commands and recipients before the connection is closed.
const FAULTS_MAX: u32 = 30;
/// Failed logins before the connection is closed.
const LOGINS_MAX: u32 = 3;
/// Longest user name, bytes.
const USER_BYTES_MAX: usize = 255;

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Answer, and read the next line.
    Say(Reply),
    /// Answer and hang up.
    Close(Reply),
    /// Answer, then begin TLS.
    StartTls(Reply),
    /// Check these; then [`Session::logged_in`].
    Login(Credentials),
    /// Ask whether this may send; then [`Session::from_decided`].
    Sender(Option<Address>),
    /// Ask whether this may get it; then [`Session::to_decided`].
    Recipient(Address),
    /// Answer, then read the message; then [`Session::taken`].
    Read(Reply),
}

#[derive(Debug)]
enum Dialog {
    Commands,
    /// The client sends what `AUTH PLAIN` needs on a line of its own.
    Plain,
    LoginUser,
    LoginPassword(String),
}

/// The state of one conversation.
#[derive(Debug)]
pub(crate) struct Session {
    offer: Offer,
    encrypted: bool,
    hello: Option<String>,
    extended: bool,
    login: Option<Submitter>,
    dialog: Dialog,
    /// `Some(None)`: mail from `<>`.
    from: Option<Option<Address>>,
    recipients: Vec<(Address, Destination)>,
    faults: u32,
    logins: u32,
    messages: u32,
}

fn bad_sequence(text: &'static str) -> Step {
    Step::Say(Reply::new(503, format!("5.5.1 {text}")))
}

impl Session {
    pub fn new(offer: Offer) -> Self {
        Self {
            offer,
            encrypted: false,
            hello: None,
            extended: false,
            login: None,
            dialog: Dialog::Commands,
            from: None,
            recipients: Vec::new(),
            faults: 0,
            logins: 0,
            messages: 0,
        }
    }

    pub fn greeting(&self) -> Reply {
        Reply::new(220, format!("{} ESMTP meshagent", self.offer.host))
    }

    /// What the client calls itself.
    pub fn hello(&self) -> &str {
        self.hello.as_deref().unwrap_or_default()
    }

    /// The protocol's name, for `Received:` lines (RFC 3848).
    pub fn protocol(&self) -> &'static str {
        match (self.extended, self.encrypted, self.login.is_some()) {
            (false, ..) => "SMTP",
            (true, false, false) => "ESMTP",
            (true, true, false) => "ESMTPS",
            (true, false, true) => "ESMTPA",
            (true, true, true) => "ESMTPSA",
        }
    }

    pub fn login(&self) -> Option<&Submitter> {
        self.login.as_ref()
    }

    pub fn from(&self) -> Option<&Address> {
        self.from.as_ref().and_then(Option::as_ref)
    }

    /// The message that is complete, as it is addressed.
    pub fn envelope(&self) -> Envelope {
        Envelope {
            from: self.from.clone().flatten(),
            recipients: self.recipients.clone(),
            login: self.login.clone(),
        }
    }

    /// TLS has begun: everything said before is forgotten (RFC 3207).
    pub fn secured(&mut self) {
        *self = Self { encrypted: true, faults: self.faults, ..Self::new(self.offer.clone()) };
    }

    /// Takes one line, without its end.
    pub fn line(&mut self, line: &[u8]) -> Step {
        let step = match std::mem::replace(&mut self.dialog, Dialog::Commands) {
            Dialog::Commands => self.command(line),
            _ if line == b"*" => Step::Say(Reply::new(501, "5.7.0 the login was given up")),
            Dialog::Plain => self.plain(line),
            Dialog::LoginUser => match text_of(line) {
                Some(user) => {
                    self.dialog = Dialog::LoginPassword(user);
                    Step::Say(Reply::new(334, "UGFzc3dvcmQ6"))
                }
                None => not_base64(),
            },
            Dialog::LoginPassword(user) => match STANDARD.decode(line) {
                Ok(password) => Step::Login(Credentials { user, password: Secret::new(password) }),
                Err(_) => not_base64(),
            },
        };
        match step {
            Step::Say(reply) => self.answered(reply),
            step => step,
        }
    }

    /// Counts refusals; too many end the connection.
    fn answered(&mut self, reply: Reply) -> Step {
        if reply.is_ok() {
            return Step::Say(reply);
        }
        self.faults += 1;
        if self.faults > FAULTS_MAX {
            return Step::Close(Reply::new(421, "4.7.0 too many refused commands, goodbye"));
        }
        Step::Say(reply)
    }

    fn command(&mut self, line: &[u8]) -> Step {
        let line = [line, b"\r\n"].concat();
        match Request::parse(&mut line.iter()) {
            Ok(request) => self.request(request),
            Err(smtp_proto::Error::UnknownCommand) => Step::Say(Reply::new(500, "5.5.1 unknown command")),
            Err(smtp_proto::Error::InvalidSenderAddress | smtp_proto::Error::InvalidRecipientAddress) => {
                Step::Say(Reply::new(501, "5.1.3 that is no address"))
            }
            Err(
                smtp_proto::Error::UnsupportedParameter { .. } | smtp_proto::Error::InvalidParameter { .. },
            ) => Step::Say(Reply::new(555, "5.5.4 a parameter is unknown or unreadable")),
            Err(_) => Step::Say(Reply::new(501, "5.5.2 the command is unreadable")),
        }
    }

    fn request(&mut self, request: Request<Cow<'_, str>>) -> Step {
        match request {
            Request::Ehlo { host } => Step::Say(self.extended_hello(&host)),
            Request::Helo { host } => {
                self.reset();
                (self.hello, self.extended) = (Some(host.into_owned()), false);
                Step::Say(Reply::new(250, self.offer.host.clone()))
            }
            Request::Mail { from } => self.mail(&from),
            Request::Rcpt { to } => self.rcpt(&to),
            Request::Data => self.data(),
            Request::Auth { mechanism, initial_response } => {
                self.auth(mechanism, initial_response.as_bytes())
            }
            Request::StartTls => self.start_tls(),
            Request::Rset => {
                self.reset();
                Step::Say(Reply::new(250, "2.0.0 forgotten"))
            }
            Request::Noop { .. } => Step::Say(Reply::new(250, "2.0.0 ok")),
            Request::Quit => Step::Close(Reply::new(221, "2.0.0 goodbye")),
            // Says nothing about which addresses exist.
            Request::Vrfy { .. } => Step::Say(Reply::new(252, "2.1.5 send mail and see")),
            other => Step::Say(Reply::new(502, format!("5.5.1 {} is not offered", other.name()))),
        }
    }

    fn extended_hello(&mut self, host: &str) -> Reply {
        self.reset();
        (self.hello, self.extended) = (Some(host.to_owned()), true);
        let mut lines: Vec<Cow<'static, str>> = vec![
            self.offer.host.clone().into(),
            "PIPELINING".into(),
            format!("SIZE {}", self.offer.size_max).into(),
            "8BITMIME".into(),
            "ENHANCEDSTATUSCODES".into(),
        ];
        if self.offer.starttls && !self.encrypted {
            lines.push("STARTTLS".into());
        }
        if self.may_log_in() {
            lines.push("AUTH PLAIN LOGIN".into());
        }
        Reply::lines(250, lines)
    }

    fn may_log_in(&self) -> bool {
        self.offer.door == Door::Submission && (self.encrypted || self.offer.plain_login)
    }

    fn start_tls(&mut self) -> Step {
        if !self.offer.starttls || self.encrypted {
            return bad_sequence("STARTTLS is not offered now");
        }
        Step::StartTls(Reply::new(220, "2.0.0 begin TLS"))
    }

    fn auth(&mut self, mechanism: u64, initial: &[u8]) -> Step {
        if self.offer.door == Door::Receiver {
            return Step::Say(Reply::new(
                502,
                "5.5.1 AUTH is not offered; participants send at the submission port",
            ));
        }
        if self.hello.is_none() || self.login.is_some() || self.from.is_some() {
            return bad_sequence("AUTH comes once, after EHLO and before MAIL");
        }
        if !self.may_log_in() {
            return Step::Say(Reply::new(538, "5.7.11 begin TLS before the password is sent"));
        }
        match mechanism {
            AUTH_PLAIN if initial.is_empty() => self.ask(Dialog::Plain, ""),
            AUTH_PLAIN => self.plain(initial),
            AUTH_LOGIN if initial.is_empty() => self.ask(Dialog::LoginUser, "VXNlcm5hbWU6"),
            AUTH_LOGIN => match text_of(initial) {
                Some(user) => self.ask(Dialog::LoginPassword(user), "UGFzc3dvcmQ6"),
                None => not_base64(),
            },
            _ => Step::Say(Reply::new(504, "5.5.4 only PLAIN and LOGIN are offered")),
        }
    }

    fn ask(&mut self, dialog: Dialog, text: &'static str) -> Step {
        self.dialog = dialog;
        Step::Say(Reply::new(334, text))
    }

    fn plain(&mut self, response: &[u8]) -> Step {
        let Ok(bytes) = STANDARD.decode(response) else { return not_base64() };
        let mut parts = bytes.splitn(3, |byte| *byte == 0);
        let (Some(_), Some(user), Some(password)) = (parts.next(), parts.next(), parts.next()) else {
            return not_base64();
        };
        match std::str::from_utf8(user) {
            Ok(user) if user.len() <= USER_BYTES_MAX => {
                Step::Login(Credentials { user: user.to_owned(), password: Secret::new(password.to_vec()) })
            }
            _ => not_base64(),
        }
    }

    /// What came of [`Step::Login`].
    pub fn logged_in(&mut self, checked: Result<Submitter, Reply>) -> Step {
        match checked {
            Ok(submitter) => {
                self.login = Some(submitter);
                Step::Say(Reply::new(235, "2.7.0 welcome"))
            }
            Err(reply) => {
                self.logins += 1;
                if self.logins >= LOGINS_MAX { Step::Close(reply) } else { self.answered(reply) }
            }
        }
    }

    fn mail(&mut self, from: &MailFrom<Cow<'_, str>>) -> Step {
        if self.hello.is_none() {
            return bad_sequence("say EHLO first");
        }
        if self.from.is_some() {
            return bad_sequence("a message is being sent already; RSET forgets it");
        }
        if self.offer.door == Door::Submission && self.login.is_none() {
            return Step::Say(Reply::new(530, "5.7.0 log in first"));
        }
        if self.messages >= MESSAGES_MAX {
            return Step::Close(Reply::new(421, "4.7.0 enough over one connection, goodbye"));
        }
        if from.size > self.offer.size_max {
            let text = format!("5.3.4 at most {} bytes are taken", self.offer.size_max);
            return Step::Say(Reply::new(552, text));
        }
        match from.address.as_ref() {
            "" => Step::Sender(None),
            address => match address.parse() {
                Ok(address) => Step::Sender(Some(address)),
                Err(_) => {
                    Step::Say(Reply::new(553, "5.1.7 the sender is no address of the form name@domain"))
                }
            },
        }
    }

    /// What came of [`Step::Sender`].
    pub fn from_decided(&mut self, from: Option<Address>, decided: Result<(), Reply>) -> Step {
        match decided {
            Ok(()) => {
                self.from = Some(from);
                Step::Say(Reply::new(250, "2.1.0 ok"))
            }
            Err(reply) => self.answered(reply),
        }
    }

    fn rcpt(&mut self, to: &RcptTo<Cow<'_, str>>) -> Step {
        if self.from.is_none() {
            return bad_sequence("MAIL comes before RCPT");
        }
        if self.recipients.len() >= RECIPIENTS_MAX {
            return Step::Say(Reply::new(452, "4.5.3 too many recipients; send the others another message"));
        }
        // An empty address is what `<postmaster>` reads as.
        match to.address.parse() {
            Ok(address) => Step::Recipient(address),
            Err(_) => Step::Say(Reply::new(553, "5.1.3 the recipient is no address of the form name@domain")),
        }
    }

    /// What came of [`Step::Recipient`].
    pub fn to_decided(&mut self, to: Address, decided: Result<Destination, Reply>) -> Step {
        match decided {
            Ok(destination) => {
                if !self.recipients.iter().any(|(known, _)| *known == to) {
                    self.recipients.push((to, destination));
                }
                Step::Say(Reply::new(250, "2.1.5 ok"))
            }
            Err(reply) => self.answered(reply),
        }
    }

    fn data(&mut self) -> Step {
        if self.from.is_none() {
            return bad_sequence("MAIL comes before DATA");
        }
        if self.recipients.is_empty() {
            return Step::Say(Reply::new(554, "5.5.1 no recipient was accepted"));
        }
        Step::Read(Reply::new(354, "go on; end with a dot on a line of its own"))
    }

    /// The message was taken, or not: the next may come.
    pub fn taken(&mut self, reply: Reply) -> Step {
        self.reset();
        self.messages += 1;
        self.answered(reply)
    }

    fn reset(&mut self) {
        self.from = None;
        self.recipients.clear();
    }
}

fn not_base64() -> Step {
    Step::Say(Reply::new(501, "5.5.2 that is not what the login wants, in base64"))
}

fn text_of(base64: &[u8]) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(base64).ok()?).ok()?;
    (text.len() <= USER_BYTES_MAX).then_some(text)
}
