//! Rotel behind nginx, which speaks TLS with certificates of an authority of its own, and through tinyproxy.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use super::clickhouse::libraries;
use super::common::receiver::{Receiver, nobody_listens};
use super::common::{Home, installed};
use super::rotel::{Rotel, assert_same};
use super::{EVENTS, Running, enqueue, event, eventually, listens};

/// An authority, and certificates that it vouches for: a server's for this machine, and a client's.
struct Authority(PathBuf);

impl Authority {
    fn new(home: &Home) -> Self {
        let authority = Self(home.path().join("certificates"));
        std::fs::create_dir(&authority.0).unwrap();
        authority
            .openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2");
        for (name, more) in [
            ("server", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"),
            ("client", "extendedKeyUsage=clientAuth"),
        ] {
            std::fs::write(authority.0.join("extensions"), more).unwrap();
            let request =
                format!("req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}");
            authority.openssl(&request);
            let sign = "x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions";
            authority.openssl(&format!("{sign} -in {name}.csr -out {name}.pem"));
        }
        authority
    }

    fn openssl(&self, arguments: &str) {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(&self.0).output().unwrap();
        assert!(done.status.success(), "{arguments}: {done:?}");
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

/// nginx before a receiver, which takes nobody without a client's certificate.
fn nginx(home: &Home, authority: &Authority, receiver: SocketAddr) -> Option<(Running, SocketAddr)> {
    let program = installed("debian/usr/sbin/nginx")?;
    let address = nobody_listens();
    let place = home.path().join("nginx");
    std::fs::create_dir(&place).unwrap();
    let config = format!(
        "daemon off; master_process off; pid {place}/pid; error_log stderr; events {{}}
        http {{
            access_log off;
            client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/f;
            uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
            client_max_body_size 8m;
            server {{
                listen {address} ssl;
                ssl_certificate {server}.pem; ssl_certificate_key {server}.key;
                ssl_client_certificate {ca}; ssl_verify_client on;
                location / {{ proxy_pass http://{receiver}; }}
            }}
        }}",
        place = place.display(),
        server = authority.path("server"),
        ca = authority.path("ca.pem"),
    );
    std::fs::write(place.join("nginx.conf"), config).unwrap();
    let mut command = Command::new(&program);
    command.env_clear().env("LD_LIBRARY_PATH", libraries(&program));
    command.arg("-e").arg("stderr").arg("-p").arg(&place).arg("-c").arg(place.join("nginx.conf"));
    let nginx = Running::start(home, "nginx", &mut command);
    eventually("nginx listens", || listens(address));
    Some((nginx, address))
}

fn tinyproxy(home: &Home) -> Option<(Running, SocketAddr)> {
    let program = installed("debian/usr/bin/tinyproxy")?;
    let address = nobody_listens();
    let config = home.path().join("tinyproxy.conf");
    std::fs::write(
        &config,
        format!("Port {}\nListen 127.0.0.1\nTimeout 60\nLogLevel Connect\n", address.port()),
    )
    .unwrap();
    let mut command = Command::new(&program);
    command.env_clear().arg("-d").arg("-c").arg(config);
    let tinyproxy = Running::start(home, "tinyproxy", &mut command);
    eventually("tinyproxy listens", || listens(address));
    Some((tinyproxy, address))
}

#[test]
fn rotel_reads_ten_thousand_events_through_a_proxy_and_tls_with_certificates_of_ones_own() {
    let home = Home::new();
    let Some(rotel) = Rotel::start(&home) else { return };
    let authority = Authority::new(&home);
    let Some((_nginx, front)) = nginx(&home, &authority, rotel.address) else { return };
    let Some((_tinyproxy, proxy)) = tinyproxy(&home) else { return };
    let peeked = enqueue(&home, (0..EVENTS).map(event));
    let url = format!("https://localhost:{}/v1/logs", front.port());
    let (ca, certificate) = (authority.path("ca.pem"), authority.path("client.pem"));
    let (key, proxy) = (authority.path("client.key"), format!("http://{proxy}"));

    // Nobody is trusted by accident, and what is not taken waits.
    let (exit, report) = home.flush(&url, &[]);
    assert_eq!((exit, &report["waiting"]), (4, &json!(EVENTS)), "{report}");
    assert!(report["reason"].as_str().unwrap().contains("no secure connection"), "{report}");
    let (exit, report) = home.flush(&url, &["--ca-file", &ca]);
    assert_eq!((exit, &report["waiting"], &report["dead"]), (4, &json!(EVENTS), &json!(0)), "{report}");

    let ours = ["--ca-file", &ca, "--client-certificate", &certificate, "--client-key", &key];
    let (exit, report) = home.flush(&url, &[&ours[..], &["--proxy", &proxy]].concat());
    assert_eq!((exit, &report["delivered"]), (0, &json!(EVENTS)), "{report}");
    assert_same("otlp", &peeked, &rotel.read(EVENTS as usize), &home.status()["device_id"]);
    let said = std::fs::read_to_string(home.path().join("tinyproxy.log")).unwrap();
    assert!(said.contains(&format!("CONNECT localhost:{}", front.port())), "{said}");
}

#[test]
fn a_check_says_whether_the_receivers_certificate_counts() {
    let home = Home::new();
    let receiver = Receiver::good();
    let (ours, other_home) = (Authority::new(&home), Home::new());
    let another = Authority::new(&other_home);
    let Some((_nginx, front)) = nginx(&home, &ours, receiver.address()) else { return };
    let url = format!("https://localhost:{}/v1/logs", front.port());
    let check = |ca: &Authority| {
        let (ca, certificate, key) = (ca.path("ca.pem"), ours.path("client.pem"), ours.path("client.key"));
        let who = ["--ca-file", &ca, "--client-certificate", &certificate, "--client-key", &key];
        let done = home.milepost(&[&["check", "--json", "--endpoint", &url][..], &who].concat());
        let steps = done.json()["destinations"][0]["steps"].clone();
        let tls = steps.as_array().unwrap().iter().find(|step| step["step"] == "tls").cloned();
        (done.status, tls.unwrap_or_else(|| panic!("{steps}")), receiver.requests().len())
    };
    let (exit, tls, requests) = check(&another);
    assert_eq!((exit, &tls["ok"], requests), (1, &json!(false), 0), "{tls}");
    assert!(tls["said"].as_str().unwrap().contains("certificate"), "{tls}");
    let (exit, tls, requests) = check(&ours);
    assert_eq!((exit, &tls["ok"], requests), (0, &json!(true), 1), "{tls}");
}

/// The key of another certificate, a certificate where a key belongs, and files that hold neither.
#[test]
fn a_file_that_cannot_be_used_is_named_before_anything_is_sent() {
    let home = Home::new();
    let authority = Authority::new(&home);
    let path = |name: &str| authority.path(name);
    let (client, server) = (path("client.pem"), path("server.key"));
    let (missing, key) = (path("missing"), path("client.key"));
    for (arguments, names) in [
        (vec!["--ca-file", &missing], "missing"),
        (vec!["--ca-file", &key], "client.key holds no certificate"),
        (vec!["--client-certificate", &client], "client.pem holds no private key"),
        (
            vec!["--client-certificate", &client, "--client-key", &server],
            "server.key holds no private key that",
        ),
        (vec!["--proxy", "ftp://user:sesame@proxy"], "proxy's URL makes no sense"),
    ] {
        let done =
            home.milepost(&[&["flush", "--endpoint", "https://localhost:1/"], &arguments[..]].concat());
        assert_eq!(done.status, 2, "{done:?}");
        assert!(done.stderr.contains(names), "{done:?}");
        assert!(!done.stderr.contains("sesame"), "{done:?}");
    }
}

#[cfg(feature = "platform-verifier")]
#[test]
fn whoever_the_system_trusts_is_trusted() {
    let home = Home::new();
    let Some(rotel) = Rotel::start(&home) else { return };
    let authority = Authority::new(&home);
    let Some((_nginx, front)) = nginx(&home, &authority, rotel.address) else { return };
    home.enqueue(10);
    let url = format!("https://localhost:{}/v1/logs", front.port());
    let (certificate, key) = (authority.path("client.pem"), authority.path("client.key"));
    let flush = || {
        home.command(&[
            "flush",
            "--endpoint",
            &url,
            "--client-certificate",
            &certificate,
            "--client-key",
            &key,
        ])
    };
    assert_eq!(flush().output().unwrap().status.code(), Some(4));
    // Where the system's are, for this process.
    let done = flush().env("SSL_CERT_FILE", authority.path("ca.pem")).output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(home.status()["delivered"], 10);
}
