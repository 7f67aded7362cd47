//! By which way a receiver is reached, and how long that may take: proxies, addresses, answers that never end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::common::Home;
use crate::common::forward::Forward;
use crate::common::receiver::{Receiver, Reply, url};
use serde_json::json;

const ELSEWHERE: &str = "http://otel.example.invalid:4318/v1/logs";

fn address(receiver: &Receiver) -> SocketAddr {
    receiver.url().strip_prefix("http://").unwrap().strip_suffix("/v1/logs").unwrap().parse().unwrap()
}

#[test]
fn the_environments_proxy_is_taken_but_for_exempt_hosts_and_this_machine() {
    let receiver = Receiver::good();
    let proxy = Forward::proxy(address(&receiver));
    let by_proxy = format!("http://{}", proxy.address());
    let flush = |home: &Home, endpoint: &str, variables: &[(&str, &str)], more: &[&str]| {
        home.enqueue(1);
        let arguments = ["flush", "--json", "--allow-plain-http", "--endpoint", endpoint];
        let mut command = home.command(&[&arguments, more].concat());
        let done = crate::common::finish(command.envs(variables.iter().copied()), "");
        (done.status, done.stdout)
    };
    let home = Home::new();
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        let (exit, said) = flush(&home, ELSEWHERE, &[(variable, &by_proxy)], &[]);
        assert_eq!(exit, 0, "{variable}: {said}");
    }
    assert_eq!(proxy.asked(), ["otel.example.invalid:4318"; 4]);
    // What is set counts more than the environment.
    let (exit, said) =
        flush(&home, ELSEWHERE, &[("HTTP_PROXY", "http://127.0.0.1:1")], &["--proxy", &by_proxy]);
    assert_eq!((exit, proxy.asked().len()), (0, 5), "{said}");
    // A receiver on this machine needs none.
    let (exit, said) = flush(&home, &receiver.url(), &[("HTTP_PROXY", &by_proxy)], &[]);
    assert_eq!((exit, proxy.asked().len()), (0, 5), "{said}");
    assert_eq!(home.status()["delivered"], 6);

    // Without it, the name leads nowhere.
    for (variables, more) in [
        (vec![("HTTP_PROXY", &*by_proxy), ("NO_PROXY", "localhost, example.invalid")], vec![]),
        (vec![("HTTP_PROXY", &*by_proxy), ("no_proxy", "*")], vec![]),
        (vec![("NO_PROXY", "otel.example.invalid:4318")], vec!["--proxy", &*by_proxy]),
        (vec![("HTTP_PROXY", &*by_proxy)], vec!["--proxy", "none"]),
        (vec![("HTTPS_PROXY", &*by_proxy)], vec![]),
    ] {
        let (exit, said) = flush(&home, ELSEWHERE, &variables, &more);
        assert_eq!(exit, 4, "{variables:?}: {said}");
        assert!(!said.contains("proxy"), "{said}");
    }
    assert_eq!(proxy.asked().len(), 5);
    assert_eq!(home.status()["waiting"]["events"], 5);
}

#[test]
fn a_receiver_is_reached_by_an_address_of_ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        // A machine without it cannot show it.
        return crate::common::skip("IPv6").unwrap_or(());
    };
    let address = listener.local_addr().unwrap();
    let receiver = Receiver::good();
    let to = self::address(&receiver);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (mut from, mut on) = (stream.try_clone().unwrap(), TcpStream::connect(to).unwrap());
            let (mut back, mut answer) = (stream, on.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut on));
            thread::spawn(move || std::io::copy(&mut answer, &mut back));
        }
    });
    let home = Home::new();
    home.enqueue(10);
    let (exit, report) = home.flush(&format!("http://{address}/v1/logs"), &[]);
    assert_eq!((exit, &report["delivered"]), (0, &json!(10)), "{report}");
    assert_eq!(receiver.taken_once().len(), 10);
    assert!(receiver.requests()[0].head.contains(&format!("{address}")));
}

type Does = fn(&mut TcpStream) -> std::io::Result<()>;

/// Answers each connection in one strange way, once something has come.
fn strange(answer: Does) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 1024]);
                let _ = answer(&mut stream);
            });
        }
    });
    url(address)
}

/// Writes the same without an end, or until nobody listens any more.
fn for_ever(stream: &mut TcpStream, head: &str, more: &str) -> std::io::Result<()> {
    stream.write_all(head.as_bytes())?;
    let more = more.repeat(1_000);
    loop {
        stream.write_all(more.as_bytes())?;
    }
}

#[test]
fn an_answer_without_an_end_costs_no_memory_and_no_event() {
    let endless: [(&str, Does); 4] = [
        ("headers", |stream| for_ever(stream, "HTTP/1.1 503 X\r\n", "X-More: and more\r\n")),
        ("a header", |stream| for_ever(stream, "HTTP/1.1 503 X\r\nX-More: ", "and more")),
        ("a body", |stream| for_ever(stream, "HTTP/1.1 503 X\r\n\r\n", "and more")),
        ("a status", |stream| for_ever(stream, "HTTP/1.1 503 ", "and more")),
    ];
    let home = Home::new();
    home.enqueue(100);
    let quiet = peak_of_a_flush(&home, &Receiver::replying([Reply::new(503, "", "")]).url());
    for (what, answer) in endless {
        let peak = peak_of_a_flush(&home, &strange(answer));
        // The limit of what is read, some times over; a second of loopback would be a gigabyte.
        assert!(peak < quiet + 8 * 1024, "{what}: {peak} KiB, and {quiet} KiB without");
    }
    assert_eq!(home.status()["waiting"]["events"], 100);
}

/// The most memory that a flush ever had, in KiB. It delivers nothing.
fn peak_of_a_flush(home: &Home, endpoint: &str) -> u64 {
    let mut flush = home.command(&["flush", "--json", "--timeout", "5s", "--endpoint", endpoint]);
    let mut flush = flush.stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", flush.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.map_or(peak, |line| line.trim().trim_end_matches(" kB").parse().unwrap());
        if let Some(exit) = flush.try_wait().unwrap() {
            assert_eq!(exit.code(), Some(4));
            return peak;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
