//! Every change that comes through the door has its row before it is done, and another one with its outcome after. A
//! change whose row cannot be written is not done.

use sectorbus::ids::FeedId;
use sectorbus::limits::AUDIT_DETAIL_BYTES_MAX;
use sectorbus::log::{Log, Outward, OutwardRecord};

use crate::door::call::Call;
use crate::door::problem::Problem;

/// The row of a change that is under way.
pub struct Row {
    id: FeedId,
    what: &'static str,
    who: String,
}

impl<L: Log> Call<L> {
    /// Writes the row; only then may the change be made.
    pub async fn audited(&self, what: &'static str, about: &str, detail: &str) -> Result<Row, Problem> {
        let who = self.caller.who.clone();
        let detail = cut(detail);
        let address = self.caller.address.to_string();
        let row = [
            ("what", what.to_owned()),
            ("who", who.clone()),
            ("address", address),
            ("about", about.to_owned()),
            ("detail", detail),
        ];
        match self.core.log.note(Outward::Audit, record(row)).await {
            Ok(id) => Ok(Row { id, what, who }),
            Err(error) => {
                tracing::warn!(%error, what, "nothing is changed: its row in the audit cannot be written");
                Err(Problem::unavailable("audit_unavailable", "the audit cannot be written: nothing was changed"))
            }
        }
    }

    /// Notes what became of it; a row without an outcome says that nobody knows.
    pub async fn outcome<T>(&self, row: Row, outcome: Result<T, Problem>) -> Result<T, Problem> {
        let said = outcome.as_ref().map_or_else(|problem| problem.code(), |_| "done");
        let of = [("what", row.what.to_owned()), ("who", row.who), ("of", row.id.to_string())];
        let of = of.into_iter().chain([("outcome", said.to_owned())]);
        if let Err(error) = self.core.log.note(Outward::Audit, record(of)).await {
            tracing::warn!(%error, row = %row.id, outcome = said, "the outcome is not in the audit");
        }
        outcome
    }
}

/// Whole if it fits; else its beginning, and how long it was.
fn cut(detail: &str) -> String {
    if detail.len() <= AUDIT_DETAIL_BYTES_MAX {
        return detail.to_owned();
    }
    let kept = &detail[..detail.floor_char_boundary(AUDIT_DETAIL_BYTES_MAX)];
    format!("{kept}… ({} bytes)", detail.len())
}

fn record(fields: impl IntoIterator<Item = (&'static str, String)>) -> OutwardRecord {
    fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_whole_request_or_says_how_long_it_was() {
        let fits = "x".repeat(AUDIT_DETAIL_BYTES_MAX);
        assert_eq!(cut(&fits), fits);
        assert_eq!(cut(&format!("{fits}é")), format!("{fits}… ({} bytes)", AUDIT_DETAIL_BYTES_MAX + 2));
        let kept = cut(&"é".repeat(AUDIT_DETAIL_BYTES_MAX));
        assert_eq!(kept.len(), AUDIT_DETAIL_BYTES_MAX + "… (4096 bytes)".len());
        assert!(kept.starts_with(&"é".repeat(AUDIT_DETAIL_BYTES_MAX / 2)) && kept.ends_with("… (4096 bytes)"));
    }
}
