//! A queue that does what it is told: every call is kept, and any of them may be answered otherwise.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Stands for one queue of Amazon SQS.
pub struct Double {
    pub url: String,
    state: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    messages: Vec<Held>,
    numbers: usize,
    answers: VecDeque<(&'static str, u16, Value)>,
    calls: Vec<Call>,
}

struct Held {
    receipt: String,
    body: String,
    hidden: bool,
}

/// One call as it came.
#[derive(Clone, Debug)]
pub struct Call {
    pub operation: String,
    pub body: Value,
    pub authorization: String,
}

impl Double {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(Queue::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/123456789012/ct-queue", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(state.clone());
        #[expect(clippy::disallowed_methods, reason = "the server of this story lives as long as the story")]
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { url, state }
    }

    /// Puts a message into the queue.
    pub fn put(&self, body: &Value) {
        let mut queue = self.state.lock().unwrap();
        queue.numbers += 1;
        let receipt = format!("r-{}", queue.numbers);
        queue.messages.push(Held { receipt, body: body.to_string(), hidden: false });
    }

    /// The next such call is answered like this; calls before it as usual.
    pub fn answer(&self, operation: &'static str, status: u16, body: Value) {
        self.state.lock().unwrap().answers.push_back((operation, status, body));
    }

    /// How many messages are in the queue, hidden ones too.
    pub fn len(&self) -> usize {
        self.state.lock().unwrap().messages.len()
    }

    /// Is some message hidden?
    pub fn is_held(&self) -> bool {
        self.state.lock().unwrap().messages.iter().any(|held| held.hidden)
    }

    /// The time of what is hidden is over.
    pub fn show(&self) {
        self.state.lock().unwrap().messages.iter_mut().for_each(|held| held.hidden = false);
    }

    pub fn calls(&self, operation: &str) -> Vec<Call> {
        self.state.lock().unwrap().calls.iter().filter(|call| call.operation == operation).cloned().collect()
    }
}

async fn answer(State(state): State<Arc<Mutex<Queue>>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let operation = text("x-amz-target").trim_start_matches("AmazonSQS.").to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut queue = state.lock().unwrap();
    queue.calls.push(Call { operation: operation.clone(), body: body.clone(), authorization: text("authorization") });
    if let Some(at) = queue.answers.iter().position(|(meant, ..)| *meant == operation) {
        let (_, status, body) = queue.answers.remove(at).unwrap();
        return (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response();
    }
    let entries = body["Entries"].as_array().cloned().unwrap_or_default();
    let answer = match operation.as_str() {
        "ReceiveMessage" => {
            let most = body["MaxNumberOfMessages"].as_u64().unwrap() as usize;
            let visible = queue.messages.iter_mut().filter(|held| !held.hidden).take(most);
            let received = visible.map(|held| {
                held.hidden = true;
                json!({"MessageId": held.receipt, "ReceiptHandle": held.receipt, "Body": held.body})
            });
            let received: Vec<Value> = received.collect();
            if received.is_empty() { json!({}) } else { json!({"Messages": received}) }
        }
        "DeleteMessageBatch" => {
            queue.messages.retain(|held| !entries.iter().any(|entry| entry["ReceiptHandle"] == held.receipt.as_str()));
            done(&entries)
        }
        "ChangeMessageVisibilityBatch" => {
            for entry in &entries {
                let held = queue.messages.iter_mut().find(|held| entry["ReceiptHandle"] == held.receipt.as_str());
                held.into_iter().for_each(|held| held.hidden = entry["VisibilityTimeout"] != 0);
            }
            done(&entries)
        }
        _ => return StatusCode::BAD_REQUEST.into_response(),
    };
    answer.to_string().into_response()
}

fn done(entries: &[Value]) -> Value {
    let ids: Vec<Value> = entries.iter().map(|entry| json!({"Id": entry["Id"]})).collect();
    json!({"Successful": ids, "Failed": []})
}
