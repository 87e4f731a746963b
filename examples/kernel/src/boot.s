# From the loader to Rust: 32-bit code by PVH, page tables, 64-bit code; and the way of each further CPU.
#
# For another kernel: the note and `start` are for loaders that know PVH (qemu, cloud-hypervisor, Firecracker). All of
# memory is writable and executable here, and page 0 is there; a real kernel does better.

    # "Enter at `start`, in 32-bit code without paging." Sizes of the name and of the value, the type, both.
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18
    .asciz "Xen"
    .quad start

    .section .boot, "ax", @progbits
    .code32
    .globl start
start:
    cli
    cld
    # Before all else, mask the two old interrupt controllers. A tick that is pending there would come as vector 8 or so.
    movb $0xff, %al
    outb %al, $0xa1
    outb %al, $0x21
    movl %ebx, BOOT_INFO

    # The first 4 GiB, each address mapped to itself, in pages of 2 MiB. The loader zeroed the tables.
    movl $(LEVEL_3 + 3), LEVEL_4        # present, writable
    movl $(LEVEL_2 + 3), %eax
    movl $LEVEL_3, %edi
    movl $4, %ecx
1:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    decl %ecx
    jnz 1b
    movl $0x83, %eax                    # address 0, present, writable, a large page
    movl $LEVEL_2, %edi
    movl $2048, %ecx
1:  cmpl $512, %ecx
    jne 2f
    orl $0x18, %eax                     # the last GiB has devices: not cached
2:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    decl %ecx
    jnz 1b

enter_64:
    movl %cr4, %eax
    orl $0x620, %eax                    # PAE; OSFXSR and OSXMMEXCPT, since `core` is compiled for SSE2
    movl %eax, %cr4
    movl $LEVEL_4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx              # EFER
    rdmsr
    orl $0x100, %eax                    # long mode
    wrmsr
    movl %cr0, %eax
    andl $~4, %eax                      # no emulation of the FPU
    orl $0x80010003, %eax               # paging, write protection, FPU, protected mode
    movl %eax, %cr0
    lgdt boot_gdt_pointer
    ljmp $8, $start_64

    .code64
start_64:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    # CPUs are numbered as they come; the first one is 0. One too many stops here.
    movl $1, %edi
    lock xaddl %edi, NEXT_CPU
    cmpl MOST_CPUS, %edi
    jae halt
    movl %edi, %eax
    incl %eax
    shll $18, %eax                      # 256 KiB of stack each
    leaq THREAD_STACKS(%rax), %rsp
    xorl %ebp, %ebp
    call enter
halt:
    cli
    hlt
    jmp halt

    # Further CPUs begin in 16-bit code below 1 MiB: this is copied to 0x8000 for them.
    .code16
    .globl trampoline, trampoline_end
trampoline:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl 0x8000 + (trampoline_gdt_pointer - trampoline)
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $24, $start_32
trampoline_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt
trampoline_end:

    .code32
start_32:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    jmp enter_64

    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff            # 8: 64-bit code
    .quad 0x00cf93000000ffff            # 16: data
    .quad 0x00cf9b000000ffff            # 24: 32-bit code
boot_gdt_end:
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

    .code64
    .bss
    .balign 4096
LEVEL_4:
    .skip 4096
LEVEL_3:
    .skip 4096
LEVEL_2:
    .skip 4 * 4096
BOOT_INFO:
    .skip 4
    .globl BOOT_INFO
NEXT_CPU:
    .skip 4
    .globl NEXT_CPU
    .text
