//! Messages that wait to be sent or taken: bounded, and in their order.

use std::collections::VecDeque;

use super::message::Message;

/// A queue that grew beyond this gives its memory back when it is empty.
const KEPT_CAPACITY: usize = 8;

/// What happens to a message for which the queue has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Its sender waits until there is room, first come, first served: the default.
    #[default]
    Wait,
    /// Its sender gets it back, with an error.
    Reject,
    /// The oldest messages of which no byte was sent are dropped, and counted.
    DropOldest,
}

/// What a queue holds at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct MessageQueue {
    messages: VecDeque<Message>,
    bytes: usize,
    limits: Limits,
    /// How many of the oldest are being written.
    handed: usize,
}

impl MessageQueue {
    pub(super) fn new(limits: Limits) -> Self {
        Self { messages: VecDeque::new(), bytes: 0, limits, handed: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether it takes nothing more, not even an empty message.
    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= self.limits.messages || self.bytes >= self.limits.bytes
    }

    fn has_room_for(&self, message: &Message) -> bool {
        self.messages.len() < self.limits.messages
            && self.bytes.saturating_add(message.len()) <= self.limits.bytes
    }

    /// Appends a message, or returns it if there is no room.
    pub(super) fn push(&mut self, message: Message) -> Result<(), Message> {
        if !self.has_room_for(&message) {
            return Err(message);
        }
        self.force(message);
        Ok(())
    }

    /// Appends a message whatever its size.
    pub(super) fn force(&mut self, message: Message) {
        self.bytes += message.len();
        self.messages.push_back(message);
    }

    /// Makes room by dropping the oldest messages that are not being written. If that is not enough, none is dropped. The
    /// dropped ones are returned, to be freed outside of the lock.
    pub(super) fn make_room_for(&mut self, message: &Message) -> Vec<Message> {
        let (mut count, mut bytes) = (self.messages.len(), self.bytes);
        let mut end = self.handed;
        for oldest in self.messages.iter().skip(self.handed) {
            if count < self.limits.messages && bytes.saturating_add(message.len()) <= self.limits.bytes {
                break;
            }
            (count, bytes, end) = (count - 1, bytes - oldest.len(), end + 1);
        }
        if count >= self.limits.messages || bytes.saturating_add(message.len()) > self.limits.bytes {
            return Vec::new();
        }
        self.bytes = bytes;
        self.messages.drain(self.handed..end).collect()
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.handed = self.handed.saturating_sub(1);
        self.bytes -= message.len();
        if self.messages.is_empty() && self.messages.capacity() > KEPT_CAPACITY {
            self.messages = VecDeque::new();
        }
        Some(message)
    }

    /// The next message to write. It stays until it is popped.
    pub(super) fn hand(&mut self) -> Option<Message> {
        let message = self.messages.get(self.handed)?.clone();
        self.handed += 1;
        Some(message)
    }

    /// None is being written now: what was, is the next to be written.
    pub(super) fn take_back(&mut self) {
        self.handed = 0;
    }

    /// Empties it, and returns what it held.
    pub(super) fn clear(&mut self) -> VecDeque<Message> {
        (self.bytes, self.handed) = (0, 0);
        std::mem::take(&mut self.messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(messages: usize, bytes: usize, texts: &[&str]) -> MessageQueue {
        let mut queue = MessageQueue::new(Limits { messages, bytes });
        texts.iter().for_each(|text| queue.push((*text).into()).unwrap());
        queue
    }

    fn texts(mut queue: MessageQueue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop()).map(|message| message.as_text().unwrap().to_owned()).collect()
    }

    #[test]
    fn both_limits_hold() {
        assert!(queue(2, 100, &["a", "b"]).push("c".into()).is_err());
        assert!(queue(9, 4, &["ab", "c"]).push("de".into()).is_err());
        assert!(queue(9, 4, &["ab", "c"]).push("d".into()).is_ok());
    }

    #[test]
    fn as_few_as_needed_of_the_oldest_are_dropped() {
        let mut queue = queue(9, 6, &["aa", "bb", "cc"]);
        assert_eq!(queue.make_room_for(&"ddd".into()).len(), 2);
        queue.push("ddd".into()).unwrap();
        assert_eq!(texts(queue), ["cc", "ddd"]);
    }

    #[test]
    fn a_message_that_is_being_written_is_not_dropped() {
        let mut queue = queue(3, 100, &["a", "b", "c"]);
        queue.hand().unwrap();
        assert_eq!(queue.make_room_for(&"d".into()), ["b".into()]);
        queue.push("d".into()).unwrap();
        assert_eq!(texts(queue), ["a", "c", "d"]);
    }

    #[test]
    fn nothing_is_dropped_for_a_message_that_does_not_fit_at_all() {
        let mut queue = queue(9, 4, &["aa", "bb"]);
        assert_eq!(queue.make_room_for(&"ccccc".into()), []);
        assert_eq!(texts(queue), ["aa", "bb"]);
    }

    #[test]
    fn what_was_being_written_is_handed_out_again() {
        let mut queue = queue(9, 100, &["a", "b", "c"]);
        for _ in 0..2 {
            queue.hand().unwrap();
        }
        queue.pop().unwrap();
        queue.take_back();
        assert_eq!(queue.hand(), Some("b".into()));
        assert_eq!(queue.hand(), Some("c".into()));
        assert_eq!(queue.hand(), None);
    }

    #[test]
    fn an_empty_queue_has_given_its_memory_back() {
        let mut queue = queue(100, 1000, &["a"; 100]);
        while queue.pop().is_some() {}
        assert_eq!(queue.messages.capacity(), 0);
    }
}
