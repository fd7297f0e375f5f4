//! Where credentials for Amazon come from (`surfaces.md` 2.4).

use std::collections::BTreeMap;
use std::time::Duration;

use fluent_connector::clock::{Clock, rfc3339};
use fluent_connector::cloud::credentials::Chain;
use fluent_connector::config::model::SqsQueue;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::world::START;

fn queue(changes: &Value) -> SqsQueue {
    let mut queue = json!({
        "name": "main", "connection": "main", "queue_url": "https://sqs.eu-central-1.amazonaws.com/1/q",
        "region": null, "endpoint": null, "sts_endpoint": null, "access_key_id": null, "secret_access_key": null,
        "credentials": "auto", "formats": ["platform"], "sns_topics": [], "wait": "20s", "visibility": "60s",
        "batch": 10, "pollers": 2,
    });
    queue.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    serde_json::from_value(queue).unwrap()
}

fn chain(changes: &Value, environment: &[(&str, &str)], clock: &Clock) -> Result<Chain, String> {
    let environment: BTreeMap<String, String> =
        environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Chain::new(&queue(changes), &environment, clock)
}

/// Id, secret and session.
async fn keys(chain: &Chain) -> (String, String, Option<String>) {
    let keys = chain.keys().await.unwrap();
    let session = keys.session.map(|session| session.expose_secret().to_owned());
    (keys.id, keys.secret.expose_secret().to_owned(), session)
}

const ENVIRONMENT: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "id-e"), ("AWS_SECRET_ACCESS_KEY", "secret-e"), ("AWS_SESSION_TOKEN", "session-e")];

#[tokio::test]
async fn what_is_written_down_comes_before_the_environment() {
    let clock = Clock::simulated(START);
    let fixed = json!({"access_key_id": "id-f", "secret_access_key": "secret-f"});
    let fixed = chain(&fixed, &ENVIRONMENT, &clock).unwrap();
    assert_eq!(keys(&fixed).await, ("id-f".into(), "secret-f".into(), None));
    let environment = chain(&json!({}), &ENVIRONMENT, &clock).unwrap();
    assert_eq!(keys(&environment).await, ("id-e".into(), "secret-e".into(), Some("session-e".into())));
    for part in ["container", "web-identity"] {
        assert!(chain(&json!({"credentials": part}), &ENVIRONMENT, &clock).is_err(), "{part} only");
    }
    let none = chain(&json!({}), &[], &clock).err().unwrap();
    assert!(none.starts_with("there are no credentials"), "{none}");
}

#[tokio::test]
async fn a_container_is_asked_again_before_its_credentials_end() {
    let (cloud, clock) = (Cloud::start().await, Clock::simulated(START));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "token-1\n").unwrap();
    let give = |id: &str, until: i64| {
        let given = json!({"AccessKeyId": id, "SecretAccessKey": "s", "Token": "t", "Expiration": rfc3339(until)});
        cloud.put("creds", given.to_string().as_bytes());
    };
    give("id-1", START + 3_600_000);
    let url = format!("{}/creds", cloud.url);
    let environment = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap()),
    ];
    let chain = chain(&json!({}), &environment, &clock).unwrap();
    assert_eq!(keys(&chain).await, ("id-1".into(), "s".into(), Some("t".into())));
    assert_eq!(cloud.last(), "creds token-1 ");
    give("id-2", START + 7_200_000);
    std::fs::write(&file, "token-2\n").unwrap();
    clock.advance(Duration::from_secs(3299));
    assert_eq!(keys(&chain).await.0, "id-1", "until five minutes before the end");
    clock.advance(Duration::from_secs(1));
    let (first, second) = tokio::join!(keys(&chain), keys(&chain));
    assert_eq!((first.0.as_str(), second.0.as_str()), ("id-2", "id-2"));
    assert_eq!((cloud.asked("creds"), cloud.last().as_str()), (2, "creds token-2 "), "one asks for both");
    // Refused ones are given up, whatever they say of themselves.
    let refused = chain.keys().await.unwrap();
    give("id-3", START + 7_200_000);
    chain.refused(&refused).await;
    assert_eq!(keys(&chain).await.0, "id-3");
    chain.refused(&refused).await;
    assert_eq!((keys(&chain).await.0.as_str(), cloud.asked("creds")), ("id-3", 3), "an old refusal changes nothing");
}

#[tokio::test]
async fn a_web_identity_is_turned_into_credentials() {
    let (cloud, clock) = (Cloud::start().await, Clock::simulated(START));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "ey.J+/=\n").unwrap();
    let answer = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n\
         <AssumeRoleWithWebIdentityResult><Credentials>\n<AccessKeyId>ASIA1</AccessKeyId>\n\
         <SecretAccessKey>s/+1</SecretAccessKey>\n<SessionToken>t==</SessionToken>\n\
         <Expiration>{}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\n\
         </AssumeRoleWithWebIdentityResponse>",
        rfc3339(START + 3_600_000)
    );
    cloud.put("sts", answer.as_bytes());
    let environment =
        [("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")];
    let sts = json!({"sts_endpoint": format!("{}/sts", cloud.url)});
    let chain = chain(&sts, &environment, &clock).unwrap();
    assert_eq!(keys(&chain).await, ("ASIA1".into(), "s/+1".into(), Some("t==".into())));
    let form = "sts  Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr\
                &RoleSessionName=fluent%2Dconnector&WebIdentityToken=ey%2EJ%2B%2F%3D";
    assert_eq!(cloud.last(), form);
    cloud.put("sts", b"<ErrorResponse/>");
    clock.advance(Duration::from_secs(3301));
    let error = chain.keys().await.unwrap_err();
    assert_eq!(error, "STS answered no credentials");
}

#[tokio::test]
async fn credentials_are_taken_from_known_places_only() {
    let clock = Clock::simulated(START);
    for (url, taken) in [
        ("https://anywhere.example/creds", true),
        ("http://169.254.170.2/creds", true),
        ("http://169.254.170.23/creds", true),
        ("http://[fd00:ec2::23]/creds", true),
        ("http://localhost:8080/creds", true),
        ("http://127.0.0.1:8080/creds", true),
        ("http://169.254.169.254/latest/meta-data", false),
        ("http://anywhere.example/creds", false),
        ("http://169.254.170.2.evil.example/creds", false),
        ("ftp://169.254.170.2/creds", false),
        ("creds", false),
    ] {
        let chain = chain(&json!({}), &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)], &clock);
        assert_eq!(chain.is_ok(), taken, "{url}");
    }
    assert!(chain(&json!({}), &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/creds")], &clock).is_ok());
    // A path that is none leads to another host.
    assert!(chain(&json!({}), &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ".evil.example/creds")], &clock).is_err());
}
