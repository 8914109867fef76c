//! The calls of device-mapper's control device and of block devices that have no safe wrapper: all unsafe code of this program.

use nix::errno::Errno;
use std::fs::File;
use std::os::fd::AsRawFd;

/// Bytes of `struct dm_ioctl`, which every call's buffer begins with.
pub const HEADER: usize = 312;

/// A command of the control device (include/uapi/linux/dm-ioctl.h).
#[derive(Clone, Copy, Debug)]
pub enum Command {
    Create = 3,
    Remove = 4,
    Suspend = 6,
    Load = 9,
    Clear = 10,
    Status = 12,
    Message = 14,
}

/// Sends a command; the answer is in the buffer. The buffer's own length field is set here.
pub fn call(control: &File, command: Command, buffer: &mut [u8]) -> Result<(), Errno> {
    assert!(buffer.len() > HEADER);
    let length = u32::try_from(buffer.len()).map_err(|_| Errno::E2BIG)?;
    buffer[12..16].copy_from_slice(&length.to_ne_bytes());
    let request = nix::request_code_readwrite!(0xfd, command as u8, HEADER);
    // SAFETY: device-mapper reads and writes as many bytes as the buffer says it has, which was
    // set to its length above.
    let r = unsafe { nix::libc::ioctl(control.as_raw_fd(), request, buffer.as_mut_ptr()) };
    Errno::result(r).map(drop)
}

/// Discards `[first, first + len)` of a block device, in bytes (BLKDISCARD, include/uapi/linux/fs.h).
pub fn discard(device: &File, first: u64, len: u64) -> Result<(), Errno> {
    let range = [first, len];
    // SAFETY: the kernel reads two integers there.
    let r = unsafe { nix::libc::ioctl(device.as_raw_fd(), 0x1277, range.as_ptr()) };
    Errno::result(r).map(drop)
}
