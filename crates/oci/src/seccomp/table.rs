//! Numbers of system calls by name, in the groups of the default profile.
//!
//! Up to 423 an architecture has its own numbers (from libc), above all share theirs.
//! Source: containerd 2.x contrib/seccomp/seccomp_default.go; kernel 6.18
//! include/uapi/asm-generic/unistd.h.
#![expect(clippy::cast_possible_truncation, reason = "libc has them as long")]

macro_rules! call {
    ($name:ident) => {
        (
            stringify!($name),
            // `SYS_` is part of the name in libc.
            numbers::$name,
        )
    };
}

mod numbers {
    //! libc's constants without their prefix.
    macro_rules! constants {
        ($($name:ident $constant:ident)*) => {$(
            #[expect(non_upper_case_globals, reason = "named as the calls")]
            pub(super) const $name: u32 = libc::$constant as u32;
        )*};
    }
    constants! {
        accept SYS_accept
        accept4 SYS_accept4
        acct SYS_acct
        add_key SYS_add_key
        adjtimex SYS_adjtimex
        bind SYS_bind
        bpf SYS_bpf
        brk SYS_brk
        capget SYS_capget
        capset SYS_capset
        chdir SYS_chdir
        chroot SYS_chroot
        clock_adjtime SYS_clock_adjtime
        clock_getres SYS_clock_getres
        clock_gettime SYS_clock_gettime
        clock_nanosleep SYS_clock_nanosleep
        clock_settime SYS_clock_settime
        clone SYS_clone
        close SYS_close
        connect SYS_connect
        copy_file_range SYS_copy_file_range
        delete_module SYS_delete_module
        dup SYS_dup
        dup3 SYS_dup3
        epoll_create1 SYS_epoll_create1
        epoll_ctl SYS_epoll_ctl
        epoll_pwait SYS_epoll_pwait
        eventfd2 SYS_eventfd2
        execve SYS_execve
        execveat SYS_execveat
        exit SYS_exit
        exit_group SYS_exit_group
        faccessat SYS_faccessat
        fadvise64 SYS_fadvise64
        fallocate SYS_fallocate
        fanotify_init SYS_fanotify_init
        fanotify_mark SYS_fanotify_mark
        fchdir SYS_fchdir
        fchmod SYS_fchmod
        fchmodat SYS_fchmodat
        fchown SYS_fchown
        fchownat SYS_fchownat
        fcntl SYS_fcntl
        fdatasync SYS_fdatasync
        fgetxattr SYS_fgetxattr
        finit_module SYS_finit_module
        flistxattr SYS_flistxattr
        flock SYS_flock
        fremovexattr SYS_fremovexattr
        fsetxattr SYS_fsetxattr
        fstat SYS_fstat
        fstatfs SYS_fstatfs
        fsync SYS_fsync
        ftruncate SYS_ftruncate
        futex SYS_futex
        get_mempolicy SYS_get_mempolicy
        get_robust_list SYS_get_robust_list
        getcpu SYS_getcpu
        getcwd SYS_getcwd
        getdents64 SYS_getdents64
        getegid SYS_getegid
        geteuid SYS_geteuid
        getgid SYS_getgid
        getgroups SYS_getgroups
        getitimer SYS_getitimer
        getpeername SYS_getpeername
        getpgid SYS_getpgid
        getpid SYS_getpid
        getppid SYS_getppid
        getpriority SYS_getpriority
        getrandom SYS_getrandom
        getresgid SYS_getresgid
        getresuid SYS_getresuid
        getrlimit SYS_getrlimit
        getrusage SYS_getrusage
        getsid SYS_getsid
        getsockname SYS_getsockname
        getsockopt SYS_getsockopt
        gettid SYS_gettid
        gettimeofday SYS_gettimeofday
        getuid SYS_getuid
        getxattr SYS_getxattr
        init_module SYS_init_module
        inotify_add_watch SYS_inotify_add_watch
        inotify_init1 SYS_inotify_init1
        inotify_rm_watch SYS_inotify_rm_watch
        io_cancel SYS_io_cancel
        io_destroy SYS_io_destroy
        io_getevents SYS_io_getevents
        io_setup SYS_io_setup
        io_submit SYS_io_submit
        ioctl SYS_ioctl
        ioprio_get SYS_ioprio_get
        ioprio_set SYS_ioprio_set
        kcmp SYS_kcmp
        kexec_file_load SYS_kexec_file_load
        kexec_load SYS_kexec_load
        keyctl SYS_keyctl
        kill SYS_kill
        lgetxattr SYS_lgetxattr
        linkat SYS_linkat
        listen SYS_listen
        listxattr SYS_listxattr
        llistxattr SYS_llistxattr
        lookup_dcookie SYS_lookup_dcookie
        lremovexattr SYS_lremovexattr
        lseek SYS_lseek
        lsetxattr SYS_lsetxattr
        madvise SYS_madvise
        mbind SYS_mbind
        membarrier SYS_membarrier
        memfd_create SYS_memfd_create
        migrate_pages SYS_migrate_pages
        mincore SYS_mincore
        mkdirat SYS_mkdirat
        mknodat SYS_mknodat
        mlock SYS_mlock
        mlock2 SYS_mlock2
        mlockall SYS_mlockall
        mmap SYS_mmap
        mount SYS_mount
        move_pages SYS_move_pages
        mprotect SYS_mprotect
        mq_getsetattr SYS_mq_getsetattr
        mq_notify SYS_mq_notify
        mq_open SYS_mq_open
        mq_timedreceive SYS_mq_timedreceive
        mq_timedsend SYS_mq_timedsend
        mq_unlink SYS_mq_unlink
        mremap SYS_mremap
        msgctl SYS_msgctl
        msgget SYS_msgget
        msgrcv SYS_msgrcv
        msgsnd SYS_msgsnd
        msync SYS_msync
        munlock SYS_munlock
        munlockall SYS_munlockall
        munmap SYS_munmap
        name_to_handle_at SYS_name_to_handle_at
        nanosleep SYS_nanosleep
        newfstatat SYS_newfstatat
        nfsservctl SYS_nfsservctl
        open_by_handle_at SYS_open_by_handle_at
        openat SYS_openat
        perf_event_open SYS_perf_event_open
        personality SYS_personality
        pipe2 SYS_pipe2
        pivot_root SYS_pivot_root
        pkey_alloc SYS_pkey_alloc
        pkey_free SYS_pkey_free
        pkey_mprotect SYS_pkey_mprotect
        ppoll SYS_ppoll
        prctl SYS_prctl
        pread64 SYS_pread64
        preadv SYS_preadv
        preadv2 SYS_preadv2
        prlimit64 SYS_prlimit64
        process_vm_readv SYS_process_vm_readv
        process_vm_writev SYS_process_vm_writev
        pselect6 SYS_pselect6
        ptrace SYS_ptrace
        pwrite64 SYS_pwrite64
        pwritev SYS_pwritev
        pwritev2 SYS_pwritev2
        quotactl SYS_quotactl
        read SYS_read
        readahead SYS_readahead
        readlinkat SYS_readlinkat
        readv SYS_readv
        reboot SYS_reboot
        recvfrom SYS_recvfrom
        recvmmsg SYS_recvmmsg
        recvmsg SYS_recvmsg
        remap_file_pages SYS_remap_file_pages
        removexattr SYS_removexattr
        renameat SYS_renameat
        renameat2 SYS_renameat2
        request_key SYS_request_key
        restart_syscall SYS_restart_syscall
        rseq SYS_rseq
        rt_sigaction SYS_rt_sigaction
        rt_sigpending SYS_rt_sigpending
        rt_sigprocmask SYS_rt_sigprocmask
        rt_sigqueueinfo SYS_rt_sigqueueinfo
        rt_sigreturn SYS_rt_sigreturn
        rt_sigsuspend SYS_rt_sigsuspend
        rt_sigtimedwait SYS_rt_sigtimedwait
        rt_tgsigqueueinfo SYS_rt_tgsigqueueinfo
        sched_get_priority_max SYS_sched_get_priority_max
        sched_get_priority_min SYS_sched_get_priority_min
        sched_getaffinity SYS_sched_getaffinity
        sched_getattr SYS_sched_getattr
        sched_getparam SYS_sched_getparam
        sched_getscheduler SYS_sched_getscheduler
        sched_rr_get_interval SYS_sched_rr_get_interval
        sched_setaffinity SYS_sched_setaffinity
        sched_setattr SYS_sched_setattr
        sched_setparam SYS_sched_setparam
        sched_setscheduler SYS_sched_setscheduler
        sched_yield SYS_sched_yield
        seccomp SYS_seccomp
        semctl SYS_semctl
        semget SYS_semget
        semop SYS_semop
        semtimedop SYS_semtimedop
        sendfile SYS_sendfile
        sendmmsg SYS_sendmmsg
        sendmsg SYS_sendmsg
        sendto SYS_sendto
        set_mempolicy SYS_set_mempolicy
        set_robust_list SYS_set_robust_list
        set_tid_address SYS_set_tid_address
        setdomainname SYS_setdomainname
        setfsgid SYS_setfsgid
        setfsuid SYS_setfsuid
        setgid SYS_setgid
        setgroups SYS_setgroups
        sethostname SYS_sethostname
        setitimer SYS_setitimer
        setns SYS_setns
        setpgid SYS_setpgid
        setpriority SYS_setpriority
        setregid SYS_setregid
        setresgid SYS_setresgid
        setresuid SYS_setresuid
        setreuid SYS_setreuid
        setrlimit SYS_setrlimit
        setsid SYS_setsid
        setsockopt SYS_setsockopt
        settimeofday SYS_settimeofday
        setuid SYS_setuid
        setxattr SYS_setxattr
        shmat SYS_shmat
        shmctl SYS_shmctl
        shmdt SYS_shmdt
        shmget SYS_shmget
        shutdown SYS_shutdown
        sigaltstack SYS_sigaltstack
        signalfd4 SYS_signalfd4
        socket SYS_socket
        socketpair SYS_socketpair
        splice SYS_splice
        statfs SYS_statfs
        statx SYS_statx
        swapoff SYS_swapoff
        swapon SYS_swapon
        symlinkat SYS_symlinkat
        sync SYS_sync
        sync_file_range SYS_sync_file_range
        syncfs SYS_syncfs
        sysinfo SYS_sysinfo
        syslog SYS_syslog
        tee SYS_tee
        tgkill SYS_tgkill
        timer_create SYS_timer_create
        timer_delete SYS_timer_delete
        timer_getoverrun SYS_timer_getoverrun
        timer_gettime SYS_timer_gettime
        timer_settime SYS_timer_settime
        timerfd_create SYS_timerfd_create
        timerfd_gettime SYS_timerfd_gettime
        timerfd_settime SYS_timerfd_settime
        times SYS_times
        tkill SYS_tkill
        truncate SYS_truncate
        umask SYS_umask
        umount2 SYS_umount2
        uname SYS_uname
        unlinkat SYS_unlinkat
        unshare SYS_unshare
        userfaultfd SYS_userfaultfd
        utimensat SYS_utimensat
        vhangup SYS_vhangup
        vmsplice SYS_vmsplice
        wait4 SYS_wait4
        waitid SYS_waitid
        write SYS_write
        writev SYS_writev
    }
    #[cfg(target_arch = "x86_64")]
    constants! {
        access SYS_access
        alarm SYS_alarm
        arch_prctl SYS_arch_prctl
        chmod SYS_chmod
        chown SYS_chown
        creat SYS_creat
        dup2 SYS_dup2
        epoll_create SYS_epoll_create
        epoll_wait SYS_epoll_wait
        eventfd SYS_eventfd
        fork SYS_fork
        futimesat SYS_futimesat
        getdents SYS_getdents
        getpgrp SYS_getpgrp
        inotify_init SYS_inotify_init
        ioperm SYS_ioperm
        iopl SYS_iopl
        lchown SYS_lchown
        link SYS_link
        lstat SYS_lstat
        mkdir SYS_mkdir
        mknod SYS_mknod
        modify_ldt SYS_modify_ldt
        open SYS_open
        pause SYS_pause
        pipe SYS_pipe
        poll SYS_poll
        readlink SYS_readlink
        rename SYS_rename
        rmdir SYS_rmdir
        select SYS_select
        signalfd SYS_signalfd
        stat SYS_stat
        symlink SYS_symlink
        time SYS_time
        unlink SYS_unlink
        utime SYS_utime
        utimes SYS_utimes
        vfork SYS_vfork
    }
}

/// Allowed to everybody.
pub(super) const ALWAYS: &[(&str, u32)] = &[
    call!(accept),
    call!(accept4),
    call!(adjtimex),
    call!(bind),
    call!(brk),
    call!(capget),
    call!(capset),
    call!(chdir),
    call!(clock_adjtime),
    call!(clock_getres),
    call!(clock_gettime),
    call!(clock_nanosleep),
    call!(close),
    call!(connect),
    call!(copy_file_range),
    call!(dup),
    call!(dup3),
    call!(epoll_create1),
    call!(epoll_ctl),
    call!(epoll_pwait),
    call!(eventfd2),
    call!(execve),
    call!(execveat),
    call!(exit),
    call!(exit_group),
    call!(faccessat),
    call!(fadvise64),
    call!(fallocate),
    call!(fanotify_mark),
    call!(fchdir),
    call!(fchmod),
    call!(fchmodat),
    call!(fchown),
    call!(fchownat),
    call!(fcntl),
    call!(fdatasync),
    call!(fgetxattr),
    call!(flistxattr),
    call!(flock),
    call!(fremovexattr),
    call!(fsetxattr),
    call!(fstat),
    call!(fstatfs),
    call!(fsync),
    call!(ftruncate),
    call!(futex),
    call!(get_robust_list),
    call!(getcpu),
    call!(getcwd),
    call!(getdents64),
    call!(getegid),
    call!(geteuid),
    call!(getgid),
    call!(getgroups),
    call!(getitimer),
    call!(getpeername),
    call!(getpgid),
    call!(getpid),
    call!(getppid),
    call!(getpriority),
    call!(getrandom),
    call!(getresgid),
    call!(getresuid),
    call!(getrlimit),
    call!(getrusage),
    call!(getsid),
    call!(getsockname),
    call!(getsockopt),
    call!(gettid),
    call!(gettimeofday),
    call!(getuid),
    call!(getxattr),
    call!(inotify_add_watch),
    call!(inotify_init1),
    call!(inotify_rm_watch),
    call!(io_cancel),
    call!(io_destroy),
    call!(io_getevents),
    (
        "io_pgetevents",
        if cfg!(target_arch = "x86_64") {
            333
        } else {
            292
        },
    ),
    call!(io_setup),
    call!(io_submit),
    call!(ioctl),
    call!(ioprio_get),
    call!(ioprio_set),
    call!(kill),
    call!(lgetxattr),
    call!(linkat),
    call!(listen),
    call!(listxattr),
    call!(llistxattr),
    call!(lremovexattr),
    call!(lseek),
    call!(lsetxattr),
    call!(madvise),
    call!(membarrier),
    call!(memfd_create),
    call!(mincore),
    call!(mkdirat),
    call!(mknodat),
    call!(mlock),
    call!(mlock2),
    call!(mlockall),
    call!(mmap),
    call!(mprotect),
    call!(mq_getsetattr),
    call!(mq_notify),
    call!(mq_open),
    call!(mq_timedreceive),
    call!(mq_timedsend),
    call!(mq_unlink),
    call!(mremap),
    call!(msgctl),
    call!(msgget),
    call!(msgrcv),
    call!(msgsnd),
    call!(msync),
    call!(munlock),
    call!(munlockall),
    call!(munmap),
    call!(name_to_handle_at),
    call!(nanosleep),
    call!(newfstatat),
    call!(openat),
    call!(pipe2),
    call!(pkey_alloc),
    call!(pkey_free),
    call!(pkey_mprotect),
    call!(ppoll),
    call!(prctl),
    call!(pread64),
    call!(preadv),
    call!(preadv2),
    call!(prlimit64),
    call!(process_vm_readv),
    call!(process_vm_writev),
    call!(pselect6),
    call!(ptrace),
    call!(pwrite64),
    call!(pwritev),
    call!(pwritev2),
    call!(read),
    call!(readahead),
    call!(readlinkat),
    call!(readv),
    call!(recvfrom),
    call!(recvmmsg),
    call!(recvmsg),
    call!(remap_file_pages),
    call!(removexattr),
    call!(renameat),
    call!(renameat2),
    call!(restart_syscall),
    call!(rseq),
    call!(rt_sigaction),
    call!(rt_sigpending),
    call!(rt_sigprocmask),
    call!(rt_sigqueueinfo),
    call!(rt_sigreturn),
    call!(rt_sigsuspend),
    call!(rt_sigtimedwait),
    call!(rt_tgsigqueueinfo),
    call!(sched_get_priority_max),
    call!(sched_get_priority_min),
    call!(sched_getaffinity),
    call!(sched_getattr),
    call!(sched_getparam),
    call!(sched_getscheduler),
    call!(sched_rr_get_interval),
    call!(sched_setaffinity),
    call!(sched_setattr),
    call!(sched_setparam),
    call!(sched_setscheduler),
    call!(sched_yield),
    call!(seccomp),
    call!(semctl),
    call!(semget),
    call!(semop),
    call!(semtimedop),
    call!(sendfile),
    call!(sendmmsg),
    call!(sendmsg),
    call!(sendto),
    call!(set_robust_list),
    call!(set_tid_address),
    call!(setfsgid),
    call!(setfsuid),
    call!(setgid),
    call!(setgroups),
    call!(setitimer),
    call!(setpgid),
    call!(setpriority),
    call!(setregid),
    call!(setresgid),
    call!(setresuid),
    call!(setreuid),
    call!(setrlimit),
    call!(setsid),
    call!(setsockopt),
    call!(setuid),
    call!(setxattr),
    call!(shmat),
    call!(shmctl),
    call!(shmdt),
    call!(shmget),
    call!(shutdown),
    call!(sigaltstack),
    call!(signalfd4),
    call!(socketpair),
    call!(splice),
    call!(statfs),
    call!(statx),
    call!(symlinkat),
    call!(sync),
    call!(sync_file_range),
    call!(syncfs),
    call!(sysinfo),
    call!(tee),
    call!(tgkill),
    call!(timer_create),
    call!(timer_delete),
    call!(timer_getoverrun),
    call!(timer_gettime),
    call!(timer_settime),
    call!(timerfd_create),
    call!(timerfd_gettime),
    call!(timerfd_settime),
    call!(times),
    call!(tkill),
    call!(truncate),
    call!(umask),
    call!(uname),
    call!(unlinkat),
    call!(utimensat),
    call!(vmsplice),
    call!(wait4),
    call!(waitid),
    call!(write),
    call!(writev),
    #[cfg(target_arch = "x86_64")]
    call!(access),
    #[cfg(target_arch = "x86_64")]
    call!(alarm),
    #[cfg(target_arch = "x86_64")]
    call!(arch_prctl),
    #[cfg(target_arch = "x86_64")]
    call!(chmod),
    #[cfg(target_arch = "x86_64")]
    call!(chown),
    #[cfg(target_arch = "x86_64")]
    call!(creat),
    #[cfg(target_arch = "x86_64")]
    call!(dup2),
    #[cfg(target_arch = "x86_64")]
    call!(epoll_create),
    #[cfg(target_arch = "x86_64")]
    call!(epoll_wait),
    #[cfg(target_arch = "x86_64")]
    call!(eventfd),
    #[cfg(target_arch = "x86_64")]
    call!(fork),
    #[cfg(target_arch = "x86_64")]
    call!(futimesat),
    #[cfg(target_arch = "x86_64")]
    call!(getdents),
    #[cfg(target_arch = "x86_64")]
    call!(getpgrp),
    #[cfg(target_arch = "x86_64")]
    call!(inotify_init),
    #[cfg(target_arch = "x86_64")]
    call!(lchown),
    #[cfg(target_arch = "x86_64")]
    call!(link),
    #[cfg(target_arch = "x86_64")]
    call!(lstat),
    #[cfg(target_arch = "x86_64")]
    call!(mkdir),
    #[cfg(target_arch = "x86_64")]
    call!(mknod),
    #[cfg(target_arch = "x86_64")]
    call!(modify_ldt),
    #[cfg(target_arch = "x86_64")]
    call!(open),
    #[cfg(target_arch = "x86_64")]
    call!(pause),
    #[cfg(target_arch = "x86_64")]
    call!(pipe),
    #[cfg(target_arch = "x86_64")]
    call!(poll),
    #[cfg(target_arch = "x86_64")]
    call!(readlink),
    #[cfg(target_arch = "x86_64")]
    call!(rename),
    #[cfg(target_arch = "x86_64")]
    call!(rmdir),
    #[cfg(target_arch = "x86_64")]
    call!(select),
    #[cfg(target_arch = "x86_64")]
    call!(signalfd),
    #[cfg(target_arch = "x86_64")]
    call!(stat),
    #[cfg(target_arch = "x86_64")]
    call!(symlink),
    #[cfg(target_arch = "x86_64")]
    call!(time),
    #[cfg(target_arch = "x86_64")]
    call!(unlink),
    #[cfg(target_arch = "x86_64")]
    call!(utime),
    #[cfg(target_arch = "x86_64")]
    call!(utimes),
    #[cfg(target_arch = "x86_64")]
    call!(vfork),
    ("pidfd_send_signal", 424),
    ("pidfd_open", 434),
    ("close_range", 436),
    ("openat2", 437),
    ("faccessat2", 439),
    ("epoll_pwait2", 441),
    ("landlock_create_ruleset", 444),
    ("landlock_add_rule", 445),
    ("landlock_restrict_self", 446),
    ("memfd_secret", 447),
    ("process_mrelease", 448),
    ("futex_waitv", 449),
    ("cachestat", 451),
    ("fchmodat2", 452),
    ("map_shadow_stack", 453),
    ("futex_wake", 454),
    ("futex_wait", 455),
    ("futex_requeue", 456),
    ("lsm_get_self_attr", 459),
    ("lsm_set_self_attr", 460),
    ("lsm_list_modules", 461),
    ("mseal", 462),
    ("setxattrat", 463),
    ("getxattrat", 464),
    ("listxattrat", 465),
    ("removexattrat", 466),
];

/// Allowed to those who have a capability.
pub(super) const WITH_CAPABILITY: &[(&str, &[(&str, u32)])] = &[
    ("BPF", &[call!(bpf)]),
    ("DAC_READ_SEARCH", &[call!(open_by_handle_at)]),
    ("PERFMON", &[call!(perf_event_open)]),
    (
        "SYS_ADMIN",
        &[
            call!(bpf),
            call!(clone),
            call!(fanotify_init),
            call!(lookup_dcookie),
            call!(mount),
            call!(perf_event_open),
            call!(quotactl),
            call!(setdomainname),
            call!(sethostname),
            call!(setns),
            call!(syslog),
            call!(umount2),
            call!(unshare),
            ("open_tree", 428),
            ("move_mount", 429),
            ("fsopen", 430),
            ("fsconfig", 431),
            ("fsmount", 432),
            ("fspick", 433),
            ("clone3", 435),
            ("mount_setattr", 442),
            ("quotactl_fd", 443),
            ("statmount", 457),
            ("listmount", 458),
        ],
    ),
    ("SYSLOG", &[call!(syslog)]),
    ("SYS_BOOT", &[call!(reboot)]),
    ("SYS_CHROOT", &[call!(chroot)]),
    (
        "SYS_MODULE",
        &[
            call!(delete_module),
            call!(init_module),
            call!(finit_module),
        ],
    ),
    (
        "SYS_NICE",
        &[
            call!(get_mempolicy),
            call!(mbind),
            call!(set_mempolicy),
            ("set_mempolicy_home_node", 450),
        ],
    ),
    ("SYS_PACCT", &[call!(acct)]),
    (
        "SYS_PTRACE",
        &[call!(kcmp), ("pidfd_getfd", 438), ("process_madvise", 440)],
    ),
    (
        "SYS_RAWIO",
        &[
            #[cfg(target_arch = "x86_64")]
            call!(iopl),
            #[cfg(target_arch = "x86_64")]
            call!(ioperm),
        ],
    ),
    ("SYS_TIME", &[call!(settimeofday), call!(clock_settime)]),
    ("SYS_TTY_CONFIG", &[call!(vhangup)]),
];

/// Named by nobody's rule, or by a rule with conditions.
const OTHERS: &[(&str, u32)] = &[
    call!(personality),
    call!(socket),
    ("io_uring_setup", 425),
    ("io_uring_enter", 426),
    ("io_uring_register", 427),
    call!(keyctl),
    call!(add_key),
    call!(request_key),
    call!(userfaultfd),
    call!(swapon),
    call!(swapoff),
    call!(pivot_root),
    call!(kexec_load),
    call!(kexec_file_load),
    call!(nfsservctl),
    call!(migrate_pages),
    call!(move_pages),
    ("open_tree_attr", 467),
    ("file_getattr", 468),
    ("file_setattr", 469),
];

/// The number of a system call on this architecture.
#[must_use]
pub fn number(name: &str) -> Option<u32> {
    let groups = WITH_CAPABILITY.iter().map(|(_, calls)| *calls);
    [ALWAYS, OTHERS]
        .into_iter()
        .chain(groups)
        .flatten()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
}
