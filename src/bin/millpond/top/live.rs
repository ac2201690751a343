//! The loop of the live view: looks, keys and signals. It gives the terminal back however it ends.

use std::error::Error;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::TopArgs;
use super::client::Client;
use super::look::Look;
use super::screen::{Screen, Shown};

/// Between two checks of whether the program is ready. Each may cost it a connect.
const READY_EVERY: Duration = Duration::from_secs(10);

pub(super) async fn run(args: &TopArgs, client: Client, first: Look) -> Result<(), Box<dyn Error>> {
    let mut signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [interrupt, terminate, hangup] = &mut signals;
    let (interrupt, terminate, hangup) = (interrupt.as_mut(), terminate.as_mut(), hangup.as_mut());
    let (Ok(interrupt), Ok(terminate), Ok(hangup)) = (interrupt, terminate, hangup) else {
        return Err("the signals cannot be handled".into());
    };
    // A panic gives the terminal back, too, before it is reported.
    let mut terminal = ratatui::try_init()?;
    let _restore = Restore;
    let mut keys = keys();
    let mut screen = Screen::new(args.endpoint.clone(), args.sort, args.every);
    screen.look(first);
    let (send, mut looks) = mpsc::channel(1);
    let mut ticks = interval(args.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_asking = false;
    let mut ready_asked = Instant::now();
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        let asks_now = tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            event = keys.recv() => match event {
                // The terminal is gone.
                None => return Ok(()),
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => match screen.press(key) {
                    Pressed::Quit => return Ok(()),
                    Pressed::AskAgain => true,
                    Pressed::Nothing => false,
                },
                // A new size: it is drawn again anyway.
                Some(Ok(_)) => false,
            },
            look = looks.recv() => {
                is_asking = false;
                match look {
                    Some(Ok(look)) => screen.look(look),
                    Some(Err(error)) => screen.fail(error),
                    None => {}
                }
                screen.is_reordered()
            }
            _ = ticks.tick() => !screen.is_paused,
        };
        if asks_now && !is_asking {
            is_asking = true;
            let asks_ready = ready_asked.elapsed() >= READY_EVERY;
            if asks_ready {
                ready_asked = Instant::now();
            }
            let (client, sort, top, send) = (client.clone(), screen.sort, args.top, send.clone());
            tokio::spawn(async move { send.send(client.look(sort, top, asks_ready).await).await });
        }
    }
}

/// What a key means for the loop.
enum Pressed {
    Quit,
    AskAgain,
    Nothing,
}

impl Screen {
    fn press(&mut self, key: KeyEvent) -> Pressed {
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Pressed::Quit,
            // In its raw mode the terminal makes no signal of it.
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Pressed::Quit,
            KeyCode::Char('s') => {
                self.sort = self.sort.next();
                return Pressed::AskAgain;
            }
            KeyCode::Char('h') | KeyCode::Tab => {
                self.shown = match self.shown {
                    Shown::Connections => Shown::Holders,
                    Shown::Holders => Shown::Classes,
                    Shown::Classes => Shown::Connections,
                };
                self.scrolled = 0;
            }
            KeyCode::Char('p') => {
                self.is_paused = !self.is_paused;
                if !self.is_paused {
                    return Pressed::AskAgain;
                }
            }
            KeyCode::Down => self.scrolled = self.scrolled.saturating_add(1),
            KeyCode::Up => self.scrolled = self.scrolled.saturating_sub(1),
            _ => {}
        }
        Pressed::Nothing
    }
}

struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // If it fails, the terminal is gone.
        let _ = ratatui::try_restore();
    }
}

/// What the terminal says. A thread waits for it, and ends with the process.
fn keys() -> mpsc::Receiver<io::Result<Event>> {
    let (send, receive) = mpsc::channel(16);
    thread::spawn(move || {
        loop {
            let event = event::read();
            let has_failed = event.is_err();
            if send.blocking_send(event).is_err() || has_failed {
                return;
            }
        }
    });
    receive
}
