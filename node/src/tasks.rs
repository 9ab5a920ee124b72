//! The tasks of one node: all end together, by a kill, and a panic in any of them ends the node.
//! Knows nothing of what the tasks do.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns the node's tasks and ends them. Cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    killed: CancellationToken,
    tracker: TaskTracker,
    panicked: Arc<Mutex<Option<String>>>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { killed: CancellationToken::new(), tracker: TaskTracker::new(), panicked: Arc::default() }
    }
}

impl Tasks {
    /// Runs `task` until it ends or the node is killed; a killed task is dropped wherever it waits.
    /// `name` appears in the panic report only.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let killed = self.killed.clone();
        let panicked = self.panicked.clone();
        // On the heap by itself: an async block has room for what it captures and again for what it awaits.
        let mut task = Box::pin(AssertUnwindSafe(task).catch_unwind());
        self.tracker.spawn(async move {
            let outcome = tokio::select! {
                biased;
                () = killed.cancelled() => return,
                outcome = &mut task => outcome,
            };
            if let Err(panic) = outcome {
                let what = panic_text(&*panic);
                tracing::error!(task = name, panic = %what, "a task panicked: the node ends");
                panicked.lock().get_or_insert(format!("{name}: {what}"));
                killed.cancel();
            }
        });
    }

    /// Ends every task at its next wait. What they had not written is not written.
    pub fn kill(&self) {
        self.killed.cancel();
    }

    /// Resolves when the node was killed or a task panicked.
    pub async fn killed(&self) {
        self.killed.cancelled().await;
    }

    pub fn is_killed(&self) -> bool {
        self.killed.is_cancelled()
    }

    /// The first panic, if any: `<task>: <message>`.
    pub fn panic(&self) -> Option<String> {
        self.panicked.lock().clone()
    }

    /// Waits until every task has ended.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_one_task_ends_all() {
        let tasks = Tasks::default();
        tasks.spawn("waits", std::future::pending());
        tasks.spawn("breaks", async { panic!("numbers: {}", 7) });
        tasks.ended().await;
        assert_eq!(tasks.panic().as_deref(), Some("breaks: numbers: 7"));
    }
}
