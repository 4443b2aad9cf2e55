//! The action `stack_join`: images of several platforms, each pushed by a machine of its own, become one index. How that
//! is done is in `indexes.rs`.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::indexes;
use super::services::{Services, whole};
use crate::action::{ActionType, Arguments, Call, Done, Failure};
use crate::graph::Links;
use crate::model::{Diagnostic, Stream};

pub(super) struct StackJoin(pub(super) Arc<Services>);

impl ActionType for StackJoin {
    fn name(&self) -> &'static str {
        "stack_join"
    }

    fn arguments(&self) -> Arguments {
        Arguments { required: &[], optional: &["registry", "version"], short: Some("registry") }
    }

    fn links(&self, _: &Value) -> Result<Links, Diagnostic> {
        Ok(Links { provides: vec!["joined".into()], ..Links::default() })
    }

    fn run(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (stack, _) = self.0.stack().map_err(whole)?;
        let mut wanted = Vec::new();
        for pair in stack.pairs() {
            if let Some(mut index) = indexes::wanted(&self.0, call, &stack, pair)? {
                indexes::add_found(&self.0, &stack, pair, &mut index)?;
                wanted.push(index);
            }
        }
        let found = indexes::look(&self.0, &wanted)?;
        let joined = indexes::put(&found, &mut |line| call.out.line(Stream::Stdout, line.as_bytes()))?;
        let remark = match (found.len(), joined.moved) {
            (0, _) => "no image has several platforms".to_owned(),
            (_, 0) => "already joined".to_owned(),
            (1, _) => "1 index joined".to_owned(),
            (count, _) => format!("{count} indexes joined"),
        };
        let values = Map::from_iter([("joined".to_owned(), Value::Object(joined.references))]);
        Ok(Done { result: None, values, remark: Some(remark) })
    }
}
