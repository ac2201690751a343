//! What a message takes in each form, after a look at whether it comes back as it was.

use std::hint::black_box;
use std::rc::Rc;

use bincode::config;
use millpond::BufferPool;
use rkyv::util::AlignedVec;

use crate::ALLOCATOR;
use crate::contest::{Contestant, SLICE, contest};
use crate::forms::{Bincode, Form, Postcard, Rkyv, Zerocopy};
use crate::outcome::{Role, Row};
use crate::samples::examples::create_buffer_pool_config;
use crate::subject::Subject;

/// What is measured of a message.
pub(crate) const WORK: [&str; 3] = ["encode into a reused slice", "encode into a pooled buffer", "decode"];

/// Operations that are watched for allocations, after as many others.
const WATCHED: u64 = 10_000;

/// The contestants of a message, for one kind of [`WORK`].
pub(crate) struct Race {
    pub(crate) row: Row,
    /// In their order.
    pub(crate) costs: Vec<Cost>,
}

pub(crate) struct Cost {
    /// On the wire.
    pub(crate) bytes: usize,
    /// On the heap, an operation.
    pub(crate) allocations: f64,
}

pub(crate) fn run<M: Subject>(label: &'static str, message: M) -> [Race; 3]
where
    Rkyv<M::Plain<'static>>: Form<M>,
{
    let message: &'static M = Box::leak(Box::new(message));
    let mut races = LineUp { message, works: Default::default() };
    races.enter(Role::Ours, "millpond", message);
    races.enter(Role::Rival, "bincode", Bincode(message.plain(), config::standard()));
    let fixed = config::standard().with_fixed_int_encoding();
    races.enter(Role::Rival, "bincode, fixed ints", Bincode(message.plain(), fixed));
    races.enter(Role::Rival, "postcard", Postcard(message.plain()));
    races.enter(Role::Rival, "rkyv", Rkyv(message.plain()));
    races.enter(Role::Rival, "zerocopy", Zerocopy(message.fixed()));
    races.works.map(|(contestants, costs)| Race { row: contest(label, SLICE, contestants), costs })
}

struct LineUp<M: 'static> {
    message: &'static M,
    works: [(Vec<Contestant>, Vec<Cost>); 3],
}

impl<M: Subject> LineUp<M> {
    fn enter(&mut self, role: Role, name: &'static str, form: impl Form<M>) {
        let (form, pool) = (Rc::new(form), pool());
        // What rkyv reads has to be aligned.
        let mut slice = AlignedVec::<16>::new();
        slice.resize(M::MAX_SIZE, 0);
        let bytes = form.write(&mut slice);
        let mut payload = AlignedVec::<16>::new();
        payload.extend_from_slice(&slice[..bytes]);
        let mut scratch = slice.clone();
        assert_eq!(form.write_pooled(&pool, &mut scratch)[..], payload[..], "{name}");
        assert!(form.look(&payload, |view| M::from(view) == *self.message), "{name} alters the message");

        let (to_slice, to_pool) = (Rc::clone(&form), Rc::clone(&form));
        let reused = move || {
            let bytes = black_box(&*to_slice).write(black_box(&mut slice));
            black_box(&slice[..bytes]);
        };
        let pooled = move || {
            black_box(black_box(&*to_pool).write_pooled(&pool, &mut scratch).into_shared());
        };
        self.add(0, bytes, Contestant::new(role, name, reused));
        self.add(1, bytes, Contestant::new(role, name, pooled));
        let decode = move || form.look(black_box(&payload), M::read);
        self.add(2, bytes, Contestant::new(role, name, decode));
    }

    fn add(&mut self, work: usize, bytes: usize, mut contestant: Contestant) {
        contestant.time(WATCHED);
        let before = ALLOCATOR.stats();
        contestant.time(WATCHED);
        let spent = ALLOCATOR.stats() - before;
        let allocations = (spent.allocations + spent.reallocations) as f64 / WATCHED as f64;
        let (contestants, costs) = &mut self.works[work];
        contestants.push(contestant);
        costs.push(Cost { bytes, allocations });
    }
}

fn pool() -> BufferPool {
    BufferPool::new(create_buffer_pool_config())
}
