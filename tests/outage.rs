//! A real outage: a sender in a network of its own has no way to its receiver, is given one, loses it, and has it
//! again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::receiver::{Receiver, url};
use crate::common::{Home, arguments_of, skip, wait_until};
use milepost::{Client, Event, Product};

const RECEIVER: &str = "10.77.0.1";

/// The sender: an event every 20 ms, until there is a file `enough`; then it only delivers.
#[test]
#[ignore = "a process that another test starts"]
fn sender() {
    let (Ok(endpoint), Ok(product)) = (std::env::var("SENDER_ENDPOINT"), std::env::var("SENDER_PRODUCT"))
    else {
        return;
    };
    let builder = Client::builder(Product::from_file(product).unwrap());
    let client = builder.endpoint(endpoint).allow_plain_http().build().unwrap();
    let enough = std::path::Path::new(&std::env::var_os("HOME").unwrap()).join("enough");
    for number in 0..i64::MAX {
        if !enough.exists() {
            client.enqueue(Event::new("job_finished").with("number", number));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process in a network of its own, where there is nothing. It ends with the test.
struct Alone(Child);

impl Alone {
    fn start(home: &Home, endpoint: &str) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "--"]).arg(std::env::current_exe().unwrap());
        command.args(arguments_of(module_path!(), "sender")).env("HOME", home.path());
        command.env("SENDER_ENDPOINT", endpoint).env("SENDER_PRODUCT", home.product_file());
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    /// Does something to its network, as `ip` does it.
    fn ip(&self, arguments: &str) {
        let pid = self.0.id().to_string();
        run(Command::new("nsenter").args(["-t", &pid, "-n", "--", "ip"]).args(arguments.split(' ')));
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {done:?}");
}

/// Runs this test again where it may make networks.
fn in_a_network_of_ones_own(name: &str, body: impl FnOnce()) {
    const MARK: &str = "IN_A_NETWORK";
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let unshared = || {
        let mut command = Command::new("unshare");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(["--map-root-user", "--net", "--"]);
        command
    };
    let makes = "ip link set lo up && ip link add near type veth peer name far && nsenter -t $$ -n true";
    if !unshared().args(["sh", "-c", makes]).output().is_ok_and(|done| done.status.success()) {
        return skip("a network namespace of one's own, with `ip` and `nsenter`,").unwrap_or(());
    }
    let mut again = unshared();
    let again = again.arg(std::env::current_exe().unwrap()).args(arguments_of(module_path!(), name));
    let done = again.env(MARK, "1").output().unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn a_sender_without_a_way_delivers_once_it_has_one_each_time() {
    in_a_network_of_ones_own("a_sender_without_a_way_delivers_once_it_has_one_each_time", || {
        let home = Home::new();
        let address: SocketAddr = format!("{RECEIVER}:4318").parse().unwrap();
        let sender = Alone::start(&home, &url(address));
        let here = |arguments: &str| run(Command::new("ip").args(arguments.split(' ')));
        here("link set lo up");
        here(&format!("link add here type veth peer name there netns {}", sender.0.id()));
        here(&format!("addr add {RECEIVER}/24 dev here"));
        here("link set here up");
        let receiver = Receiver::come_up(address);
        wait_until("the sender finds no way", || {
            let status = home.status();
            let error = status["destinations"][0]["last_error"].as_str().unwrap_or_default().to_owned();
            error.contains("no way to the host")
        });
        assert!(receiver.requests().is_empty());

        sender.ip("addr add 10.77.0.2/24 dev there");
        sender.ip("link set there up");
        wait_until("what waited is delivered", || receiver.taken().len() > 100);
        sender.ip("link set there down");
        let before = home.status()["accepted"].as_u64().unwrap();
        wait_until("events wait again", || home.status()["accepted"].as_u64().unwrap() > before + 100);
        sender.ip("link set there up");
        wait_until("they are delivered as well", || receiver.taken().len() as u64 > before + 100);
        std::fs::write(home.path().join("enough"), "").unwrap();
        wait_until("nothing waits any more", || {
            let status = home.status();
            status["waiting"]["events"] == 0 && status["delivered"].as_u64() > Some(before + 100)
        });

        let taken = receiver.taken();
        let numbers: BTreeSet<u64> =
            taken.iter().map(|event| event.properties["number"].as_u64().unwrap()).collect();
        let ids: BTreeSet<&str> = taken.iter().map(|event| event.id.as_str()).collect();
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "one in the middle is missing");
        assert_eq!(
            (ids.len(), numbers.len() as u64),
            (numbers.len(), home.status()["accepted"].as_u64().unwrap())
        );
    });
}
