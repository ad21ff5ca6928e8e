//! A name server for tests: says what it was given, and that there is nothing else.

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};

/// Longest question, bytes.
const QUESTION_BYTES_MAX: usize = 4096;
/// Longest piece of a text record, bytes.
const PIECE_BYTES_MAX: usize = 255;

/// The record of a name about which the server cannot say anything.
pub const DOWN: &str = "SERVFAIL";

/// Serves text records from now until the tests end. Names are written without a dot at their end.
pub fn serve(records: &[(&str, &str)]) -> SocketAddr {
    let texts: BTreeMap<String, String> =
        records.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; QUESTION_BYTES_MAX];
        while let Ok((read, peer)) = socket.recv_from(&mut buffer) {
            let Ok(question) = Message::from_vec(&buffer[..read]) else { continue };
            let answer = answer(&texts, question);
            socket.send_to(&answer.to_vec().unwrap(), peer).unwrap();
        }
    });
    address
}

fn answer(texts: &BTreeMap<String, String>, question: Message) -> Message {
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.metadata.response_code = ResponseCode::NXDomain;
    for query in &question.queries {
        let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
        if texts.get(&name).is_some_and(|text| text == DOWN) {
            answer.metadata.response_code = ResponseCode::ServFail;
        } else if let Some(text) = texts.get(&name).filter(|_| query.query_type() == RecordType::TXT) {
            let pieces: Vec<String> = text
                .as_bytes()
                .chunks(PIECE_BYTES_MAX)
                .map(|piece| String::from_utf8_lossy(piece).into_owned())
                .collect();
            let data = RData::TXT(TXT::new(pieces));
            answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
            answer.metadata.response_code = ResponseCode::NoError;
        }
    }
    answer.add_queries(question.queries);
    answer
}
