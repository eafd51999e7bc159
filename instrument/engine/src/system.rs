//! The kernel, called directly: no libc, no errno, safe on any thread at any time.

use std::arch::asm;
use std::fmt::{self, Write};

/// Exit code of a target whose engine failed: the one that `env` and `timeout` use for failures of their own.
const FATAL_EXIT_CODE: usize = 125;

pub(crate) mod number {
    //! System call numbers of x86-64 Linux.
    pub(crate) const READ: usize = 0;
    pub(crate) const WRITE: usize = 1;
    pub(crate) const OPEN: usize = 2;
    pub(crate) const CLOSE: usize = 3;
    pub(crate) const FSTAT: usize = 5;
    pub(crate) const LSEEK: usize = 8;
    pub(crate) const MMAP: usize = 9;
    pub(crate) const MPROTECT: usize = 10;
    pub(crate) const MUNMAP: usize = 11;
    pub(crate) const BRK: usize = 12;
    pub(crate) const RT_SIGACTION: usize = 13;
    pub(crate) const RT_SIGPROCMASK: usize = 14;
    pub(crate) const RT_SIGRETURN: usize = 15;
    pub(crate) const PREAD: usize = 17;
    pub(crate) const PWRITE: usize = 18;
    pub(crate) const READV: usize = 19;
    pub(crate) const WRITEV: usize = 20;
    pub(crate) const SCHED_YIELD: usize = 24;
    pub(crate) const MREMAP: usize = 25;
    pub(crate) const MADVISE: usize = 28;
    pub(crate) const GETPID: usize = 39;
    pub(crate) const SENDTO: usize = 44;
    pub(crate) const RECVFROM: usize = 45;
    pub(crate) const SENDMSG: usize = 46;
    pub(crate) const RECVMSG: usize = 47;
    pub(crate) const CLONE: usize = 56;
    pub(crate) const FORK: usize = 57;
    pub(crate) const VFORK: usize = 58;
    pub(crate) const EXECVE: usize = 59;
    pub(crate) const EXIT: usize = 60;
    pub(crate) const KILL: usize = 62;
    pub(crate) const GETDENTS: usize = 78;
    pub(crate) const GETCWD: usize = 79;
    pub(crate) const READLINK: usize = 89;
    pub(crate) const GETTIMEOFDAY: usize = 96;
    pub(crate) const ARCH_PRCTL: usize = 158;
    pub(crate) const GETTID: usize = 186;
    pub(crate) const TIME: usize = 201;
    pub(crate) const FUTEX: usize = 202;
    pub(crate) const GETDENTS64: usize = 217;
    pub(crate) const EXIT_GROUP: usize = 231;
    pub(crate) const TGKILL: usize = 234;
    pub(crate) const RT_TGSIGQUEUEINFO: usize = 297;
    pub(crate) const READLINKAT: usize = 267;
    pub(crate) const PREADV: usize = 295;
    pub(crate) const PWRITEV: usize = 296;
    pub(crate) const GETCPU: usize = 309;
    pub(crate) const GETRANDOM: usize = 318;
    pub(crate) const PREADV2: usize = 327;
    pub(crate) const PWRITEV2: usize = 328;
    pub(crate) const PROCESS_VM_READV: usize = 310;
    pub(crate) const EXECVEAT: usize = 322;
    pub(crate) const RSEQ: usize = 334;
    pub(crate) const CLONE3: usize = 435;
}

/// One system call. A negative result is an error number.
///
/// # Safety
/// Whatever the system call does to this process must be sound.
pub(crate) unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let result: isize;
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the kernel changes rax, rcx and r11 only; the caller answers for the rest.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// A system call with fewer arguments.
///
/// # Safety
/// As for [`call`].
pub(crate) unsafe fn call3(number: usize, a: usize, b: usize, c: usize) -> isize {
    // SAFETY: as the caller answers.
    unsafe { call(number, [a, b, c, 0, 0, 0]) }
}

const READ_WRITE: usize = 3;
const READ_WRITE_EXECUTE: usize = 7;
const PRIVATE_ANONYMOUS: usize = 0x22;
const SHARED: usize = 1;
const NO_RESERVE: usize = 0x4000;
const FIXED_NO_REPLACE: usize = 0x10_0000;

/// Where the engine's large ranges go if they can: far from the places where the kernel puts programs, libraries and
/// stacks, so that the neighbourhood of the code stays free for translations of it.
const FAR_AWAY: usize = 0x2000_0000_0000;

/// Fresh memory for reading and writing that costs nothing until it is touched.
pub(crate) fn reserve(bytes: usize) -> *mut u8 {
    // SAFETY: a new mapping where nothing is aliases nothing; the address is a wish.
    let address = unsafe {
        call(
            number::MMAP,
            [
                FAR_AWAY,
                bytes,
                READ_WRITE,
                PRIVATE_ANONYMOUS | NO_RESERVE,
                usize::MAX,
                0,
            ],
        )
    };
    if address < 0 {
        fatal(format_args!(
            "no memory: mmap of {bytes} bytes fails with error {}",
            -address
        ));
    }
    address as *mut u8
}

/// Makes [`reserve`]d memory fresh again.
///
/// # Safety
/// Nobody uses it meanwhile.
pub(crate) unsafe fn clear(start: *mut u8, bytes: usize) {
    const DO_NOT_NEED: usize = 4;
    // SAFETY: as the caller promises; private anonymous memory reads as zeros from then on.
    unsafe { call3(number::MADVISE, start as usize, bytes, DO_NOT_NEED) };
}

/// Memory for code exactly at `address`, if nothing is there yet.
pub(crate) fn map_code(address: usize, bytes: usize) -> bool {
    let flags = PRIVATE_ANONYMOUS | NO_RESERVE | FIXED_NO_REPLACE;
    // SAFETY: FIXED_NO_REPLACE maps only where nothing is.
    let got = unsafe {
        call(
            number::MMAP,
            [address, bytes, READ_WRITE_EXECUTE, flags, usize::MAX, 0],
        )
    };
    if got >= 0 && got as usize != address {
        // SAFETY: a kernel without FIXED_NO_REPLACE has mapped fresh memory elsewhere; nobody knows of it.
        unsafe { call3(number::MUNMAP, got as usize, bytes, 0) };
    }
    got as usize == address
}

/// Maps `bytes` of a shared file.
pub(crate) fn map_shared(descriptor: usize, bytes: usize) -> Option<*mut u8> {
    // SAFETY: a new mapping where nothing is aliases nothing; the address is a wish.
    let address = unsafe { call(number::MMAP, [FAR_AWAY, bytes, READ_WRITE, SHARED, descriptor, 0]) };
    (address > 0).then_some(address as *mut u8)
}

/// The calling thread's number.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: changes nothing.
    unsafe { call3(number::GETTID, 0, 0, 0) as u32 }
}

/// This process's number.
pub(crate) fn process_id() -> u32 {
    // SAFETY: changes nothing.
    unsafe { call3(number::GETPID, 0, 0, 0) as u32 }
}

/// The calling thread's FS base.
pub(crate) fn fs_base() -> u64 {
    let base: u64;
    // SAFETY: FSGSBASE was found at start-up.
    unsafe { asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}

/// Lets others run.
pub(crate) fn yield_now() {
    // SAFETY: changes nothing.
    unsafe { call3(number::SCHED_YIELD, 0, 0, 0) };
}

/// A `struct stat` of an open file.
fn status(descriptor: usize) -> Option<[u8; 144]> {
    let mut status = [0; 144];
    // SAFETY: the kernel writes a `struct stat` of 144 bytes.
    let result = unsafe { call3(number::FSTAT, descriptor, status.as_mut_ptr() as usize, 0) };
    (result == 0).then_some(status)
}

/// The size of an open file.
pub(crate) fn file_bytes(descriptor: usize) -> Option<u64> {
    const SIZE_OFFSET: usize = 48;
    let status = status(descriptor)?;
    let size = status[SIZE_OFFSET..SIZE_OFFSET + 8]
        .try_into()
        .expect("eight bytes");
    Some(u64::from_le_bytes(size))
}

/// Whether an open file is a regular one.
pub(crate) fn is_regular_file(descriptor: usize) -> bool {
    const MODE_OFFSET: usize = 24;
    const MODE_TYPE: u32 = 0o170_000;
    const MODE_REGULAR: u32 = 0o100_000;
    status(descriptor).is_some_and(|status| {
        let mode = status[MODE_OFFSET..MODE_OFFSET + 4]
            .try_into()
            .expect("four bytes");
        u32::from_le_bytes(mode) & MODE_TYPE == MODE_REGULAR
    })
}

/// The whole of a file that the kernel makes up, such as `/proc/self/maps`. `path` ends in a zero byte.
pub(crate) fn read_file(path: &[u8]) -> Vec<u8> {
    const CLOSE_ON_EXEC: usize = 0o2_000_000;
    debug_assert_eq!(path.last(), Some(&0));
    let mut content = Vec::new();
    // SAFETY: the path is terminated; the buffer has the room that is told.
    unsafe {
        let descriptor = call3(number::OPEN, path.as_ptr() as usize, CLOSE_ON_EXEC, 0);
        if descriptor < 0 {
            return content;
        }
        loop {
            content.reserve(16384);
            let room = content.spare_capacity_mut();
            let got = call3(
                number::READ,
                descriptor as usize,
                room.as_mut_ptr() as usize,
                room.len(),
            );
            if got <= 0 {
                break;
            }
            content.set_len(content.len() + got as usize);
        }
        call3(number::CLOSE, descriptor as usize, 0, 0);
    }
    content
}

/// What the symbolic link at `path`, which ends in a zero byte, points to.
pub(crate) fn read_link(path: &[u8]) -> Vec<u8> {
    debug_assert_eq!(path.last(), Some(&0));
    let mut target = vec![0; 4096];
    // SAFETY: the path is terminated; the buffer has the room that is told.
    let length = unsafe {
        call3(
            number::READLINK,
            path.as_ptr() as usize,
            target.as_mut_ptr() as usize,
            target.len(),
        )
    };
    target.truncate(length.max(0) as usize);
    target
}

/// Copies target memory that may not be there. Whether all of it was.
pub(crate) fn read_memory(address: u64, out: &mut [u8]) -> bool {
    let local = [out.as_mut_ptr() as usize, out.len()];
    let remote = [address as usize, out.len()];
    // SAFETY: the kernel writes into `out` and refuses addresses that are not mapped.
    let got = unsafe {
        let process = call3(number::GETPID, 0, 0, 0) as usize;
        call(
            number::PROCESS_VM_READV,
            [
                process,
                local.as_ptr() as usize,
                1,
                remote.as_ptr() as usize,
                1,
                0,
            ],
        )
    };
    got == out.len() as isize
}

struct StandardError;

impl Write for StandardError {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the kernel reads the text.
        unsafe { call3(number::WRITE, 2, text.as_ptr() as usize, text.len()) };
        Ok(())
    }
}

/// One line for the person who runs the target.
pub(crate) fn warn(what: fmt::Arguments<'_>) {
    let line = format!("memloupe: engine: {what}\n");
    let _ = StandardError.write_str(&line);
}

/// Ends the target: the engine can't go on, and going on regardless would falsify what was recorded.
pub(crate) fn fatal(what: fmt::Arguments<'_>) -> ! {
    let _ = writeln!(StandardError, "memloupe: engine: {what}");
    loop {
        // SAFETY: ends the process.
        unsafe { call3(number::EXIT_GROUP, FATAL_EXIT_CODE, 0, 0) };
    }
}
