//! Processes that must not outlive this one.
//!
//! A child enters by [`spawn`] and leaves by [`forget`] or [`release`]. Three things end a child:
//! [`stop_all`] when we are asked to stop, the kernel's parent-death signal (Linux), and a small shell that
//! reads a pipe of which only this process holds the other end: however we die, it reads the end of the file,
//! ends what is on its list and removes the temporary folders. Only spawning itself can fail.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use crate::process;

/// Reads `verb argument` lines until the pipe closes. A postmaster must end its own backends, which are not in
/// its process group: it gets SIGQUIT, which ends even a busy backend, and a moment's time; the rest is killed
/// by group. The shell's own loop holds no descriptor but its standard input.
const SCRIPT: &str = r#"
trap '' HUP INT TERM QUIT
plain= postmasters=
while IFS= read -r line; do
  argument=${line#* }
  case $line in
    'kill '*) plain="$plain $argument" ;;
    'quit '*) postmasters="$postmasters $argument" ;;
    'forget '*)
      kept=; for p in $plain; do [ "$p" = "$argument" ] || kept="$kept $p"; done; plain=$kept
      kept=; for p in $postmasters; do [ "$p" = "$argument" ] || kept="$kept $p"; done; postmasters=$kept ;;
    'sweep '*) set -- "$@" "$argument" ;;
    'keep '*)
      n=$#
      while [ "$n" -gt 0 ]; do
        d=$1; shift; n=$((n - 1))
        [ "$d" = "$argument" ] || set -- "$@" "$d"
      done ;;
  esac
done
for p in $plain; do kill -KILL "-$p"; done
for p in $postmasters; do kill -QUIT "$p" && kill -CONT "$p"; done
for p in $postmasters; do
  n=0; while [ "$n" -lt 30 ] && kill -0 "$p"; do sleep 0.1; n=$((n + 1)); done
  kill -KILL "-$p"
done
for d in "$@"; do rm -rf -- "$d" || { sleep 1; rm -rf -- "$d"; }; done
"#;

/// How a child is ended when there is no time to ask it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Ending {
    /// SIGKILL to its process group.
    Kill,
    /// SIGQUIT, Postgres' immediate shutdown, which takes the backends along; SIGKILL if that is not heard.
    Quit,
}

/// What [`spawn`] must know about a child beside its command.
#[derive(Clone, Copy, Debug)]
pub struct Ownership {
    /// How it ends with us.
    pub ending: Ending,
    /// The signal that asks it to stop in good order.
    pub stop: i32,
    /// False for a child that a later [`release`] leaves running: the kernel's parent-death signal cannot be
    /// taken back from outside.
    pub dies_with_us: bool,
}

impl Ownership {
    /// An ordinary program: SIGTERM, then SIGKILL.
    pub const PROGRAM: Self = Self {
        ending: Ending::Kill,
        stop: libc::SIGTERM,
        dies_with_us: true,
    };
}

struct Owned {
    order: u64,
    ownership: Ownership,
}

#[derive(Default)]
struct Owner {
    pipe: Option<(ChildStdin, Child)>,
    children: BTreeMap<u32, Owned>,
    folders: Vec<PathBuf>,
    next: u64,
    stopping: bool,
}

static OWNER: LazyLock<Mutex<Owner>> = LazyLock::new(Mutex::default);

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// The parent-death signal fires when the *thread* that forked ends, so every child is forked by this one.
static FORKER: LazyLock<Mutex<mpsc::Sender<Job>>> = LazyLock::new(|| {
    let (jobs, queue) = mpsc::channel::<Job>();
    std::thread::spawn(move || {
        for (mut command, answer) in queue {
            let _ = answer.send(command.spawn());
        }
    });
    Mutex::new(jobs)
});

fn owner() -> MutexGuard<'static, Owner> {
    OWNER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a child in a session or process group of its own, that ends when this process does.
///
/// Its standard streams are as `command` says. Fails as [`Command::spawn`] does, and while stopping.
pub fn spawn(mut command: Command, ownership: Ownership) -> io::Result<Child> {
    let parent = std::process::id();
    // SAFETY: only async-signal-safe calls between fork and exec.
    unsafe {
        command.pre_exec(move || process::enter_own_group(parent, ownership));
    }
    let mut owner = owner();
    if owner.stopping {
        return Err(io::Error::new(
            io::ErrorKind::Interrupted,
            "stopping: nothing more is started",
        ));
    }
    owner.ensure_shell()?;
    let (answer, child) = mpsc::channel();
    let forker = FORKER.lock().unwrap_or_else(PoisonError::into_inner);
    forker.send((command, answer)).map_err(io::Error::other)?;
    let child = child.recv().map_err(io::Error::other)??;
    let order = owner.next;
    owner.next += 1;
    owner
        .children
        .insert(child.id(), Owned { order, ownership });
    owner.tell(ownership.ending.verb(), &child.id().to_string());
    Ok(child)
}

/// Says that a child has been waited for, so that its process id means nothing any more.
pub fn forget(pid: u32) {
    let mut owner = owner();
    owner.children.remove(&pid);
    owner.tell("forget", &pid.to_string());
}

/// Leaves a child running when this process ends.
pub fn release(pid: u32) {
    forget(pid);
}

/// Removes `folder` with all it holds when this process ends without having done so. Path must be absolute.
pub fn sweep(folder: &Path) {
    let mut owner = owner();
    if !folder.is_absolute() || owner.ensure_shell().is_err() {
        return;
    }
    owner.folders.push(folder.to_owned());
    owner.tell("sweep", &folder.display().to_string());
}

/// Takes back [`sweep`].
pub fn keep(folder: &Path) {
    let mut owner = owner();
    owner.folders.retain(|f| f != folder);
    owner.tell("keep", &folder.display().to_string());
}

/// Stops every child, the youngest first: asks, waits up to `patience` for each, then kills. Nothing can be
/// spawned afterwards: the caller is about to exit.
pub fn stop_all(patience: Duration) {
    let mut children: Vec<(u64, u32, Ownership)> = {
        let mut owner = owner();
        owner.stopping = true;
        owner
            .children
            .iter()
            .map(|(pid, o)| (o.order, *pid, o.ownership))
            .collect()
    };
    children.sort_unstable_by_key(|c| std::cmp::Reverse(c.0));
    for (_, pid, ownership) in children {
        process::signal_group(pid, libc::SIGCONT);
        process::signal_group(pid, ownership.stop);
        if !process::wait_exited(pid, patience) {
            process::kill_tree(pid);
        }
        process::signal_group(pid, libc::SIGKILL);
    }
}

/// Whether [`stop_all`] has begun: errors that follow are its doing.
#[must_use]
pub fn is_stopping() -> bool {
    owner().stopping
}

impl Ending {
    fn verb(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Quit => "quit",
        }
    }
}

impl Owner {
    /// Starts the shell, or starts it anew with all that it must know if somebody ended it.
    fn ensure_shell(&mut self) -> io::Result<()> {
        if let Some((_, shell)) = &mut self.pipe
            && matches!(shell.try_wait(), Ok(None))
        {
            return Ok(());
        }
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT, "sluice-dev-watchdog"])
            .current_dir("/");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // SAFETY: setsid is async-signal-safe. Its own session keeps it from what ends our group or terminal.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 {
                    Err(io::Error::last_os_error())
                } else {
                    Ok(())
                }
            });
        }
        let mut shell = command.spawn()?;
        let pipe = shell
            .stdin
            .take()
            .ok_or_else(|| io::Error::other("no pipe to the watchdog"))?;
        self.pipe = Some((pipe, shell));
        let known: Vec<_> = self
            .children
            .iter()
            .map(|(p, o)| (o.ownership.ending.verb(), p.to_string()))
            .collect();
        let folders: Vec<_> = self
            .folders
            .iter()
            .map(|f| ("sweep", f.display().to_string()))
            .collect();
        for (verb, argument) in known.iter().chain(&folders) {
            self.tell(verb, argument);
        }
        Ok(())
    }

    /// A shell that is gone is started anew at the next spawn; the parent-death signal stands meanwhile.
    fn tell(&mut self, verb: &str, argument: &str) {
        if let Some((pipe, _)) = &mut self.pipe {
            let _ = pipe.write_all(format!("{verb} {argument}\n").as_bytes());
        }
    }
}
