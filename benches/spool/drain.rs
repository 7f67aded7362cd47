//! Intake, delivery and acks of what waits, until nothing does.

use std::time::Duration;

use milepost::{Client, ClientBuilder, Destination, Format};

use super::common::goals::Goal::{AtLeast, Known};
use super::common::goals::{Goal, Goals};
use super::common::receiver::Receiver;
use super::common::{
    Does, LONG, Said, begin, ever, fill, high_entropy, low_entropy, per_second, roomy, takes_all,
};

const EVENTS: u64 = 600_000;

pub(crate) fn run(goals: &mut Goals) {
    let (receiver, slow) = (Receiver::discarding(), Receiver::slow(Duration::from_millis(5)));
    let over_http = |receiver: &Receiver, format: Format| {
        let url = receiver.url.clone();
        move || Client::builder(roomy()).endpoint(url.clone()).format(format)
    };
    for (name, say) in [("low", low_entropy as fn(u64) -> Said), ("high", high_entropy)] {
        let by_program = || {
            let product = roomy().destination(Destination::new("default").by_program());
            Client::builder(product).deliver("default", Does(takes_all))
        };
        drain(goals, &format!("code that takes all, {name} entropy"), say, by_program, Known);
        let protobuf = over_http(&receiver, Format::Otlp);
        drain(goals, &format!("loopback, protobuf, gzip, {name} entropy"), say, protobuf, AtLeast(250_000.0));
        let json = over_http(&receiver, Format::OtlpJson);
        drain(goals, &format!("loopback, JSON, gzip, {name} entropy"), say, json, AtLeast(150_000.0));
        let after_a_while = over_http(&slow, Format::Otlp);
        drain(
            goals,
            &format!("loopback that takes 5 ms, protobuf, gzip, {name} entropy"),
            say,
            after_a_while,
            Known,
        );
    }
}

fn drain(
    goals: &mut Goals,
    name: &str,
    say: fn(u64) -> Said,
    builder: impl Fn() -> ClientBuilder,
    goal: Goal,
) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let client = begin(Client::builder(roomy()).home(home.path()));
    fill(&client, EVENTS, &mut ever(say));
    client.shutdown(LONG).expect("the disk takes it");
    let admin = builder().home(home.path()).admin().expect("the settings are sound");
    let report = admin.flush(LONG, &mut |_| true).expect("a flush");
    assert_eq!((report.delivered, report.waiting), (EVENTS, 0), "{report:?}");
    goals.value(format!("drain to {name}"), per_second(EVENTS, report.elapsed), "events/s", goal);
}
