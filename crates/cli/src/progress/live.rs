//! The tree redrawn in place on a terminal.

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oaas_feedback::{Event, Sink};

use super::clock::Clock;
use super::fit::{View, draw};
use super::style::Style;
use super::tree::Tree;

const REDRAW: Duration = Duration::from_millis(125);

/// Takes events at any rate, redraws eight times a second.
pub struct Live {
    clock: Arc<dyn Clock>,
    tree: Arc<Mutex<Tree>>,
    style: Style,
    drawer: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

impl Live {
    /// Begin to draw on stderr.
    pub fn start(clock: Arc<dyn Clock>, style: Style) -> Self {
        let tree = Arc::new(Mutex::new(Tree::default()));
        let (stop, stopped) = channel();
        let drawer = {
            let (tree, clock) = (Arc::clone(&tree), Arc::clone(&clock));
            std::thread::spawn(move || {
                let term = Term::stderr();
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::term(term.clone(), 20));
                // The template is one placeholder; what it shows is drawn by `fit`.
                bar.set_style(ProgressStyle::default_spinner());
                if let Ok(style) = ProgressStyle::with_template("{msg}") {
                    bar.set_style(style);
                }
                while matches!(stopped.recv_timeout(REDRAW), Err(RecvTimeoutError::Timeout)) {
                    let (height, width) = term.size();
                    let view = View {
                        width: usize::from(width),
                        height: Some(usize::from(height).saturating_sub(1)),
                        style,
                    };
                    let lines =
                        draw(&tree.lock().unwrap_or_else(PoisonError::into_inner), clock.elapsed(), &view);
                    bar.set_message(lines.join("\n"));
                    bar.tick();
                }
                bar.finish_and_clear();
            })
        };
        Self { clock, tree, style, drawer: Mutex::new(Some((stop, drawer))) }
    }

    /// Stop redrawing and leave the whole tree, folded, on the screen. Later calls do nothing.
    pub fn finish(&self) {
        let drawer = self.drawer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, drawer)) = drawer {
            drop(stop);
            // A drawer that panicked has nothing more to draw.
            let _ = drawer.join();
            let (_, width) = Term::stderr().size();
            let view = View { width: usize::from(width), height: None, style: self.style };
            let tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
            for line in draw(&tree, self.clock.elapsed(), &view) {
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Sink for Live {
    fn event(&self, event: Event) {
        let at = self.clock.elapsed();
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).apply(at, &event);
    }
}
