use std::io::Read;
use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::Event;
use crate::block::{Address, BlockBuilder, Class, JournalId, Origin, event_id, milestone_id};
use crate::product::HEARTBEAT;

/// 2026-11-23T09:00:00.123Z.
const TIME: u64 = 1_795_424_400_123_000;

/// `D` of the golden bodies.
const DEVICE: &str = "3e9b8b0c-5d2c-4e3a-9f43-0a5f1d6a7b8c";

/// `P1` of the golden bodies.
const P1: &str =
    r#"{"product_version":"3.8.8","runtime_version":"3.11.7","platform":"Linux","architecture":"x86_64"}"#;

/// The same in Prefect's words.
const PREFECT_P1: &str =
    r#"{"prefect_version":"3.8.8","python_version":"3.11.7","platform":"Linux","architecture":"x86_64"}"#;

fn origin(product: &str) -> Arc<Origin> {
    Arc::new(Origin { device_id: DEVICE.into(), product: product.into(), ..Origin::sample() })
}

const JOURNAL: &str = "0123456789abcdef0011223344556677";

fn journal() -> JournalId {
    JOURNAL.parse().unwrap()
}

fn parcel(origin: &Arc<Origin>, class: Class, first: u32, events: &[Event]) -> Parcel {
    let mut builder = BlockBuilder::new();
    events.iter().for_each(|event| builder.push(TIME, event.bytes()));
    let mut block = Vec::new();
    assert_eq!(builder.seal(journal(), first, class, origin.id(), &mut block), 1);
    let owed = u128::MAX >> (128 - events.len());
    Parcel { block, owed, origin: origin.clone(), journal_events: Some(9) }
}

/// A milestone and an ordinary event, and their ids.
fn two(product: &str) -> ([Parcel; 2], [Uuid; 2]) {
    let origin = origin(product);
    let job =
        Event::new("job_finished").with("rows", 10).with("ok", true).with("seconds", 1.5).with("to", "eü\"");
    let parcels = [
        parcel(&origin, Class::Milestone, 0, &[Event::new("first_flow_run")]),
        parcel(&origin, Class::Bulk, 5, &[job]),
    ];
    let address = Address { journal: journal(), index: 5 };
    (parcels, [milestone_id(DEVICE, product, "first_flow_run"), event_id(address, TIME)])
}

/// What the second event of [`two`] says itself.
const JOB: &str = r#""rows":10,"ok":true,"seconds":1.5,"to":"eü\"""#;

fn with_job(properties: &str) -> String {
    format!("{},{JOB}}}", properties.strip_suffix('}').unwrap())
}

fn text(encoded: &Encoded) -> &str {
    std::str::from_utf8(&encoded.body).unwrap()
}

fn golden(format: Format, product: &str, expected: impl Fn([Uuid; 2]) -> String) {
    let (parcels, ids) = two(product);
    let encoded = format.encode(&parcels);
    assert_eq!(text(&encoded), expected(ids));
    assert_eq!((encoded.events, &encoded.damaged[..], &encoded.headers[..]), (2, &[][..], &[][..]));
    serde_json::Deserializer::from_slice(&encoded.body)
        .into_iter::<serde_json::Value>()
        .for_each(|value| drop(value.unwrap()));
}

#[test]
fn prefect_events_are_what_the_server_takes() {
    golden(Format::PrefectEvents, "prefect", |[i1, i2]| {
        let job = with_job(P1);
        format!(
            r#"[{{"id":"{i1}","occurred":"2026-11-23T09:00:00.123Z","event":"milestone.first_flow_run","resource":{{"prefect.resource.id":"milepost.device.{DEVICE}"}},"related":[],"payload":{P1}}},{{"id":"{i2}","occurred":"2026-11-23T09:00:00.123Z","event":"job_finished","resource":{{"prefect.resource.id":"milepost.device.{DEVICE}"}},"related":[],"payload":{job}}}]"#
        )
    });
}

#[test]
fn ndjson_is_a_flat_object_a_line() {
    golden(Format::Ndjson, "acme", |[i1, i2]| {
        let flat = |properties: &str| properties.trim_matches(['{', '}']).to_owned();
        let (first, job) = (flat(P1), flat(&with_job(P1)));
        format!(
            r#"{{"id":"{i1}","time":"2026-11-23T09:00:00.123Z","name":"first_flow_run","device_id":"{DEVICE}","milepost_journal":"{JOURNAL}","milepost_index":0,"milepost_count":9,{first}}}
{{"id":"{i2}","time":"2026-11-23T09:00:00.123Z","name":"job_finished","device_id":"{DEVICE}","milepost_journal":"{JOURNAL}","milepost_index":5,"milepost_count":9,{job}}}
"#
        )
    });
}

#[test]
fn amplitude_is_what_prefects_sdk_sends() {
    for (product, properties) in [("prefect", PREFECT_P1), ("acme", P1)] {
        let (parcels, [i1, i2]) = two(product);
        let job = with_job(properties);
        let expected = format!(
            r#"{{"api_key":"K\"","events":[{{"device_id":"{DEVICE}","event_properties":{properties},"event_type":"first_flow_run","insert_id":"{i1}","library":"milepost/0.1.0","time":1795424400123}},{{"device_id":"{DEVICE}","event_properties":{job},"event_type":"job_finished","insert_id":"{i2}","library":"milepost/0.1.0","time":1795424400123}}],"options":{{"min_id_length":1}}}}"#
        );
        let mut headers = vec![("X-Other".into(), "1".into()), ("Api-Key".into(), " K\" ".into())];
        let wire = Wire::new(Format::Amplitude, &mut headers, true);
        assert_eq!(text(&wire.encode(&parcels)), expected);
        assert_eq!(headers, [("X-Other".to_owned(), "1".to_owned())], "the key goes nowhere else");
        assert!(!format!("{wire:?}").contains('K'), "nor into a log");
        let bare = expected.replace(r#""K\"""#, r#""""#);
        assert_eq!(text(&Format::Amplitude.encode(&parcels)), bare, "as peek shows it");
    }
}

#[test]
fn cloudevents_are_a_batch() {
    golden(Format::CloudEvents, "prefect", |[i1, i2]| {
        let job = with_job(P1);
        let event = |id, kind: &str, index: u32, data: &str| {
            format!(
                r#"{{"specversion":"1.0","id":"{id}","source":"urn:milepost:prefect:{DEVICE}","type":"{kind}","time":"2026-11-23T09:00:00.123Z","subject":"{DEVICE}","datacontenttype":"application/json","milepostjournal":"{JOURNAL}","milepostindex":{index},"milepostcount":9,"data":{data}}}"#
            )
        };
        format!("[{},{}]", event(i1, "milestone.first_flow_run", 0, P1), event(i2, "job_finished", 5, &job))
    });
    let strange = Arc::new(Origin { device_id: "a b/ü".into(), ..Origin::sample() });
    let encoded = Format::CloudEvents.encode(&[parcel(&strange, Class::Bulk, 0, &[Event::new("e")])]);
    assert!(
        text(&encoded).contains(r#""source":"urn:milepost:prefect:a%20b%2F%C3%BC""#),
        "{}",
        text(&encoded)
    );
}

#[test]
fn a_webhook_gets_one_event_and_its_id_in_a_header() {
    for (product, properties) in [("prefect", PREFECT_P1), ("acme", P1)] {
        let (parcels, ids) = two(product);
        let said = [("first_flow_run", properties.to_owned()), ("job_finished", with_job(properties))];
        for ((parcel, id), (name, payload)) in parcels.into_iter().zip(ids).zip(said) {
            let encoded = Format::Webhook.encode(&[parcel]);
            assert_eq!(
                text(&encoded),
                format!(
                    r#"{{"source":"{product}","type":"{name}","id":"{id}","time":"2026-11-23T09:00:00.123Z","device_id":"{DEVICE}","payload":{payload}}}"#
                )
            );
            assert_eq!((encoded.events, encoded.headers), (1, vec![("idempotency-key", id.to_string())]));
        }
    }
    assert_eq!(Format::Webhook.events_max(), 1);
}

#[test]
fn a_server_heartbeat_is_prefects_own_byte_for_byte() {
    let event = Event::new(HEARTBEAT)
        .with("api_version", "0.8.4")
        .with("ephemeral_server", false)
        .with("environment", "production")
        .with("python_implementation", "CPython")
        .with("session_start_timestamp", "2026-11-23T08:59:00.000001+00:00")
        .with("session_id", "7f0c8a52-6f3b-4f5e-9d53-2f3e6a3a2b11");
    let encoded =
        Format::Webhook.encode(&[parcel(&origin("prefect"), Class::Latest, 0, std::slice::from_ref(&event))]);
    assert_eq!(
        text(&encoded),
        concat!(
            r#"{"source":"prefect_server","type":"heartbeat","payload":{"platform":"Linux","architecture":"x86_64","#,
            r#""python_version":"3.11.7","python_implementation":"CPython","environment":"production","#,
            r#""ephemeral_server":false,"api_version":"0.8.4","prefect_version":"3.8.8","#,
            r#""session_id":"7f0c8a52-6f3b-4f5e-9d53-2f3e6a3a2b11","#,
            r#""session_start_timestamp":"2026-11-23T08:59:00.000001+00:00"}}"#
        )
    );
    assert!(encoded.headers.contains(&("x-prefect-event", "prefect_server".to_owned())));
    // Another product's is an event like any other.
    let encoded = Format::Webhook.encode(&[parcel(&origin("acme"), Class::Latest, 0, &[event])]);
    assert!(text(&encoded).starts_with(r#"{"source":"acme","type":"heartbeat","id":"#), "{}", text(&encoded));
    assert_eq!(encoded.headers.len(), 1);
}

#[test]
fn a_property_whose_name_is_taken_stands_under_another() {
    let event =
        Event::new("e").with("id", 7).with("name", "n").with("platform", "mine").with("properties.id", 8);
    let parcel = [parcel(&origin("acme"), Class::Bulk, 0, &[event])];
    let line: serde_json::Value = serde_json::from_slice(&Format::Ndjson.encode(&parcel).body).unwrap();
    assert_eq!((&line["name"], &line["properties.name"]), (&"e".into(), &"n".into()));
    assert_eq!((&line["platform"], &line["properties.platform"]), (&"Linux".into(), &"mine".into()));
    assert_eq!(line["properties.id"], 8, "what a program calls so itself");
}

#[test]
fn every_format_leaves_out_what_is_not_owed_and_says_what_is_damaged() {
    let origin = origin("acme");
    let events: Vec<Event> = (0..5).map(|number| Event::new("e").with("number", number)).collect();
    let mut whole = parcel(&origin, Class::Bulk, 0, &events);
    whole.owed = 0b10110;
    let mut damaged = whole.clone();
    damaged.block[70] ^= 1;
    for format in Format::ALL {
        let encoded = format.encode(&[damaged.clone(), whole.clone()]);
        assert_eq!(encoded.events, 3, "{format}");
        assert_eq!(encoded.damaged, [Damage { parcel: 0, events: 0b10110 }], "{format}");
        if format.is_text() {
            let numbers: Vec<_> = text(&encoded).match_indices("number").collect();
            assert_eq!(numbers.len(), 3, "{format}: {}", text(&encoded));
        }
        assert_eq!(format.encode(&[whole.clone()]).body, format.encode(&[whole.clone()]).body);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever an event holds, a reader of JSON finds it again.
    #[test]
    fn every_body_is_json_that_says_the_same(
        name in "[A-Za-z0-9_.:-]{1,40}", key in "k.{0,12}", words in ".{0,40}", whole in any::<i64>(),
        number in any::<f64>().prop_filter("finite", |number| number.is_finite()),
    ) {
        let event = Event::new(&name).with(&key, &words).with("whole", whole).with("number", number);
        let parcels = [parcel(&origin("acme"), Class::Bulk, 0, &[event])];
        let read = |format: Format| serde_json::from_slice::<serde_json::Value>(&format.encode(&parcels).body).unwrap();
        let said = [
            read(Format::PrefectEvents)[0]["payload"].take(), read(Format::Ndjson), read(Format::Webhook)["payload"].take(),
            read(Format::Amplitude)["events"][0]["event_properties"].take(), read(Format::CloudEvents)[0]["data"].take(),
        ];
        for said in said {
            prop_assert_eq!(&said[&key], &serde_json::Value::from(words.clone()));
            prop_assert_eq!(&said["whole"], &serde_json::Value::from(whole));
            let read = said["number"].as_f64().unwrap();
            prop_assert!((read - number).abs() <= number.abs() * 1e-15, "{} {}", read, number);
        }
    }
}

#[test]
fn every_format_reads_its_own_word_and_a_wrong_one_lists_them() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
    }
    let message = "OTLP".parse::<Format>().unwrap_err().to_string();
    assert_eq!(
        message,
        r#"format "OTLP" is none of otlp, otlp-json, prefect-events, ndjson, amplitude, webhook, cloudevents"#
    );
}

#[test]
fn the_type_of_lines_is_a_setting_and_no_other() {
    let headers = || vec![("Content-Type".to_owned(), "application/json".to_owned())];
    let (mut lines, mut other) = (headers(), headers());
    assert_eq!(Wire::new(Format::Ndjson, &mut lines, true).content_type(), "application/json");
    assert_eq!(lines, []);
    assert_eq!(
        Wire::new(Format::CloudEvents, &mut other, true).content_type(),
        "application/cloudevents-batch+json"
    );
    assert_eq!(other.len(), 1, "the transport refuses it");
}

#[test]
fn a_packed_body_unpacks_to_itself_and_says_no_time() {
    let body = b"milepost".repeat(1_000);
    let packed = pack(&body);
    assert!(packed.len() < body.len() / 10);
    assert_eq!(packed[4..8], [0; 4], "gzip's field for a time");
    let mut read = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut read).unwrap();
    assert_eq!(read, body);
}
