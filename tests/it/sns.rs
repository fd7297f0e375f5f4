//! Stories of HTTPS subscriptions of Amazon SNS (`surfaces.md` 2.4).

use fluent_connector::clock::rfc3339;
use serde_json::{Value, json};

use crate::caller::Request;
use crate::cloud::{Brought, Signer, TOPIC, cloud_event, confirmation, envelope, signed, useless};
use crate::database::Engine;
use crate::on_both_databases;
use crate::world::START;

on_both_databases! {
    a_signed_message_has_its_effect_once,
    whoever_did_not_sign_is_refused,
    a_certificate_that_cannot_be_fetched_makes_nobody_a_stranger,
    sha1_counts_only_where_it_is_allowed,
    a_subscription_is_confirmed_once_it_is_proved,
    what_nobody_can_use_is_kept,
}

const PATH: &str = "/intake/commercetools/sns/main";
const CERTIFICATE: &str = "sns.eu-central-1.amazonaws.com/SimpleNotificationService-";

async fn brought(engine: Engine, more: &str) -> Option<Brought> {
    Brought::by(engine, "sns", &format!("sns: {{ enabled: true, topics: [\"{TOPIC}\"]{more} }}")).await
}

/// SNS says that it sends text.
fn request(body: &Value) -> Request {
    Request::post(PATH, body.to_string()).with("Content-Type", "text/plain; charset=UTF-8")
}

fn with(mut envelope: Value, changes: &Value) -> Value {
    envelope.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    envelope
}

fn certificate(name: &str) -> Value {
    json!({"SigningCertURL": format!("https://{CERTIFICATE}{name}.pem")})
}

async fn a_signed_message_has_its_effect_once(engine: Engine) {
    let Some(brought) = brought(engine, "").await else { return };
    let notes: Vec<Value> = ["1", "2", "3"].map(|number| brought.order(number).1).to_vec();
    let first = envelope(&notes[0].to_string());
    let second = with(envelope(&cloud_event(&notes[1]).to_string()), &json!({"Subject": "An order"}));
    let third = with(envelope(&notes[2].to_string()), &certificate("chained"));
    for body in [first, second, third] {
        let body = signed(body, Signer::Genuine);
        assert_eq!(brought.send(&request(&body)).await.status, 200, "{body}");
        assert_eq!(brought.send(&request(&body)).await.status, 200, "the same once more: {body}");
    }
    assert_eq!(brought.kept().await.len(), 3);
    assert_eq!(brought.orders_created(), 3);
    assert_eq!(brought.cloud.asked(CERTIFICATE), 2, "each certificate is fetched once");
    brought.world.nothing_lost().await;
}

async fn whoever_did_not_sign_is_refused(engine: Engine) {
    let Some(brought) = brought(engine, "").await else { return };
    let good = envelope(&brought.order("1").1.to_string());
    let genuine = |changes: Value| signed(with(good.clone(), &changes), Signer::Genuine);
    let elsewhere = |url: &str| genuine(json!({"SigningCertURL": url}));
    let file = "SimpleNotificationService-sns.pem";
    let does_not_lie = "does not lie where Amazon";
    let not_one = "certificate of the signature";
    let mut unsigned = good.clone();
    unsigned["Signature"] = "§".into();
    let mut bare = good.clone();
    bare.as_object_mut().unwrap().remove("SigningCertURL");
    let cases = [
        ("does not hold", signed(good.clone(), Signer::Stranger)),
        ("does not hold", with(genuine(json!({})), &json!({"Message": "{}"}))),
        ("does not hold", with(genuine(json!({})), &json!({"Subject": "added"}))),
        (
            "not one of intake.push.sns.topics",
            genuine(json!({"TopicArn": "arn:aws:sns:eu-central-1:123456789012:evil"})),
        ),
        ("older than 24 hours", genuine(json!({"Timestamp": rfc3339(START - 86_400_001)}))),
        ("no instant", genuine(json!({"Timestamp": "yesterday"}))),
        ("Signature version 1", genuine(json!({"SignatureVersion": "1"}))),
        ("signature version is unknown", genuine(json!({"SignatureVersion": "3"}))),
        ("not base64", unsigned),
        ("not a signed message", bare),
        (does_not_lie, elsewhere(&format!("http://sns.eu-central-1.amazonaws.com/{file}"))),
        (does_not_lie, elsewhere(&format!("https://sns.eu-central-1.amazonaws.com:8443/{file}"))),
        (does_not_lie, elsewhere(&format!("https://sns.eu-central-1.amazonaws.com.evil.example/{file}"))),
        (does_not_lie, elsewhere(&format!("https://evil.example/{file}"))),
        (does_not_lie, elsewhere(&format!("https://sns.eu-central-1.amazonaws.com/evil/{file}"))),
        (does_not_lie, elsewhere(&format!("{}/{CERTIFICATE}sns.pem", brought.cloud.url))),
        (not_one, genuine(certificate("expired"))),
        (not_one, genuine(certificate("early"))),
        (not_one, genuine(certificate("other-name"))),
        (not_one, genuine(certificate("other-root"))),
        (not_one, genuine(certificate("other-use"))),
        ("no messages of the type", genuine(json!({"Type": "Surprise", "Token": "t", "SubscribeURL": "u"}))),
    ];
    for (sentence, body) in cases {
        let reply = brought.send(&request(&body)).await;
        assert_eq!(reply.problem(), (403, "forbidden"), "{sentence}: {body}");
        assert!(reply.body["detail"].as_str().unwrap().contains(sentence), "{sentence}: {reply:?}");
    }
    for text in ["", "<xml/>", "[]"] {
        let reply = brought.send(&Request::post(PATH, text)).await;
        assert_eq!(reply.problem(), (403, "forbidden"), "{text}");
    }
    let raw = Request::post(PATH, good["Message"].as_str().unwrap()).header("x-amz-sns-rawdelivery", "true");
    let reply = brought.send(&raw).await;
    assert_eq!(reply.problem(), (403, "forbidden"));
    assert!(reply.body["detail"].as_str().unwrap().contains("Raw message delivery"), "{reply:?}");
    brought.untouched("whoever did not sign").await;
    let last_moment = genuine(json!({"Timestamp": rfc3339(START - 86_400_000)}));
    assert_eq!(brought.send(&request(&last_moment)).await.status, 200);
    brought.world.settle().await;
    assert_eq!(brought.orders_created(), 1);
}

async fn a_certificate_that_cannot_be_fetched_makes_nobody_a_stranger(engine: Engine) {
    let Some(brought) = brought(engine, "").await else { return };
    let body = signed(envelope(&brought.order("1").1.to_string()), Signer::Genuine);
    brought.cloud.down(true);
    assert_eq!(brought.send(&request(&body)).await.problem(), (503, "unavailable"));
    brought.cloud.down(false);
    let absent = signed(with(body.clone(), &certificate("absent")), Signer::Genuine);
    assert_eq!(brought.send(&request(&absent)).await.problem(), (503, "unavailable"));
    brought.untouched("without a certificate").await;
    assert_eq!(brought.send(&request(&body)).await.status, 200);
    brought.cloud.down(true);
    assert_eq!(brought.send(&request(&body)).await.status, 200, "it is kept for a day");
    assert_eq!(brought.kept().await.len(), 1);
    brought.world.nothing_lost().await;
}

async fn sha1_counts_only_where_it_is_allowed(engine: Engine) {
    let Some(brought) = brought(engine, ", allow_sha1: true").await else { return };
    let old = with(envelope(&brought.order("1").1.to_string()), &json!({"SignatureVersion": "1"}));
    let reply = brought.send(&request(&signed(old.clone(), Signer::Stranger))).await;
    assert_eq!(reply.problem(), (403, "forbidden"));
    let relabelled = with(signed(old.clone(), Signer::Genuine), &json!({"SignatureVersion": "2"}));
    assert_eq!(brought.send(&request(&relabelled)).await.problem(), (403, "forbidden"), "SHA-1 is no SHA-256");
    brought.untouched("a wrong signature of the old kind").await;
    assert_eq!(brought.send(&request(&signed(old, Signer::Genuine))).await.status, 200);
    brought.world.settle().await;
    assert_eq!(brought.orders_created(), 1);
}

async fn a_subscription_is_confirmed_once_it_is_proved(engine: Engine) {
    let Some(brought) = brought(engine, "").await else { return };
    let asked = || brought.cloud.asked("sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=t-1");
    let foreign = with(confirmation(), &json!({"TopicArn": "arn:aws:sns:eu-central-1:123456789012:evil"}));
    let elsewhere = with(confirmation(), &json!({"SubscribeURL": format!("{}/anything", brought.cloud.url)}));
    let metadata = with(confirmation(), &json!({"SubscribeURL": "http://169.254.169.254/latest/meta-data"}));
    for body in [
        signed(confirmation(), Signer::Stranger),
        signed(foreign, Signer::Genuine),
        signed(elsewhere, Signer::Genuine),
        signed(metadata, Signer::Genuine),
    ] {
        assert_eq!(brought.send(&request(&body)).await.problem(), (403, "forbidden"), "{body}");
    }
    assert_eq!((asked(), brought.cloud.asked("anything")), (0, 0));
    assert_eq!(brought.send(&request(&signed(confirmation(), Signer::Genuine))).await.status, 200);
    assert_eq!(asked(), 1);
    let end = with(confirmation(), &json!({"Type": "UnsubscribeConfirmation"}));
    assert_eq!(brought.send(&request(&signed(end, Signer::Genuine))).await.status, 200);
    assert_eq!(asked(), 1, "who unsubscribes is not subscribed again");
    brought.untouched("confirmations").await;
    let Some(by_hand) = self::brought(engine, ", confirm: false").await else { return };
    assert_eq!(by_hand.send(&request(&signed(confirmation(), Signer::Genuine))).await.status, 200);
    assert_eq!(by_hand.cloud.asked("sns.eu-central-1.amazonaws.com/?Action"), 0);
}

async fn what_nobody_can_use_is_kept(engine: Engine) {
    let Some(brought) = brought(engine, "").await else { return };
    for (what, note, (state, reason)) in useless(&brought.order("1").1) {
        let body = signed(envelope(&note.to_string()), Signer::Genuine);
        assert_eq!(brought.send(&request(&body)).await.status, 200, "{what}");
        let newest = brought.newest().await;
        assert_eq!((newest.0.as_str(), newest.1.as_str()), (state, reason), "{what}: {newest:?}");
    }
    let text = signed(envelope("hello"), Signer::Genuine);
    assert_eq!(brought.send(&request(&text)).await.status, 200);
    assert_eq!(brought.newest().await.1, "unreadable");
    assert_eq!(brought.orders_created(), 0);
    brought.world.nothing_lost().await;
}
