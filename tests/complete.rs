//! The promise: a receiver can prove that it has everything, or name what it has not: each event says in which journal
//! it stood, at which place, and how many that journal held.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::Home;
use crate::common::receiver::{Receiver, Reply};

/// What a receiver knows of journals, from whatever it took however often.
#[derive(Default)]
struct Proof {
    /// By journal: how many events it held, and the places of those that are here.
    journals: BTreeMap<String, (u64, BTreeSet<u64>)>,
}

impl Proof {
    fn of(receiver: &Receiver) -> Self {
        let mut proof = Self::default();
        for event in receiver.taken() {
            let (journal, index, count) = event.address;
            let (held, here) = proof.journals.entry(journal).or_default();
            *held = count.expect("it says how many its journal held");
            here.insert(index);
        }
        proof
    }

    fn events(&self) -> usize {
        self.journals.values().map(|(_, here)| here.len()).sum()
    }

    /// Places of which nothing came.
    fn holes(&self) -> Vec<u64> {
        let missing = |(held, here): &(u64, BTreeSet<u64>)| {
            (0..*held).filter(|index| !here.contains(index)).collect::<Vec<_>>()
        };
        self.journals.values().flat_map(missing).collect()
    }
}

#[test]
fn a_receiver_that_got_everything_in_parts_and_some_of_it_twice_knows_that_nothing_is_missing() {
    let home = Home::new();
    home.enqueue(3_000);
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    // Too large as it is, so it comes in parts; and where an answer was lost it comes again.
    let large = Reply::new(413, "", "");
    let receiver = Receiver::replying([large.clone(), large, Reply::ok(), Reply::Torn, Reply::Close]);
    assert_eq!(home.flush(&receiver.url(), &[]).0, 4, "a connection was closed");
    let (status, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((status, &report["waiting"]), (0, &0.into()), "{report}");
    assert!(receiver.requests().len() > 5);
    let proof = Proof::of(&receiver);
    assert_eq!((proof.events(), proof.holes()), (3_001, vec![]));
    assert_eq!(proof.journals.len(), 2, "a milestone has a journal of its own");
}

#[test]
fn a_receiver_that_got_all_but_one_knows_which_is_missing() {
    let home = Home::new();
    home.enqueue(1_000);
    let receiver = Receiver::refusing(700);
    let (_, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((&report["delivered"], &report["dead"]), (&999.into(), &1.into()), "{report}");
    let proof = Proof::of(&receiver);
    let [hole] = proof.holes()[..] else { panic!("{:?}", proof.holes()) };
    assert_eq!(proof.events(), 999);

    // A person has it sent after all, and it fills the hole.
    assert_eq!(home.milepost(&["dead", "requeue", "--all"]).status, 0);
    let good = Receiver::good();
    home.flush(&good.url(), &[]);
    let late = &good.taken()[0];
    assert_eq!((late.properties["number"].as_u64(), late.address.1), (Some(700), hole));
    assert!(proof.journals.contains_key(&late.address.0));
}
