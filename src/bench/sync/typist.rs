//! Makes the updates of one client: somebody who types a text of their own, and at times takes a letter back.

use yrs::{Doc, Text, Transact, XmlElementPrelim, XmlFragment, XmlTextPrelim, XmlTextRef};

/// One letter in this many is taken back.
const BACKSPACE_EVERY: u64 = 10;

pub(super) struct Typist {
    doc: Doc,
    text: Option<XmlTextRef>,
    typed: u64,
}

impl Typist {
    pub fn new(client: u64) -> Self {
        Self { doc: Doc::with_client_id(client), text: None, typed: 0 }
    }

    /// The next update, Yjs v1.
    pub fn update(&mut self) -> Vec<u8> {
        let fragment = self.doc.get_or_insert_xml_fragment("xml");
        let mut txn = self.doc.transact_mut();
        self.typed += 1;
        match &self.text {
            None => {
                let element = fragment.push_back(&mut txn, XmlElementPrelim::empty("text"));
                self.text = Some(element.push_back(&mut txn, XmlTextPrelim::new("")));
            }
            Some(text) => {
                let length = text.len(&txn);
                if self.typed.is_multiple_of(BACKSPACE_EVERY) && length > 0 {
                    text.remove_range(&mut txn, length - 1, 1);
                } else {
                    text.insert(&mut txn, length, "x");
                }
            }
        }
        txn.encode_update_v1()
    }
}
