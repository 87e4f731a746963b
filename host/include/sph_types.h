/* What a miniport shares with the port driver, as far as this host has it. Names, arguments and IRQLs are those of
   the public pages of storport.h; values that a miniport's code does not depend on are this host's own.
   Pages: storport/nc-storport-*.md, storport/nf-storport-*.md, storport/ns-storport-*.md. */
#ifndef SPH_TYPES_H
#define SPH_TYPES_H

/* The kit's names are this host's: it takes them from the pool's header, wherever that was included before. */
#ifndef SP_KIT
#define SP_KIT
#endif
#include "storport_pool.h"

#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef uint8_t UCHAR, BOOLEAN, *PUCHAR, *PBOOLEAN;
typedef uint16_t USHORT;
typedef int32_t LONG;
typedef uint64_t ULONGLONG;
typedef const char *PCSTR;
typedef char *PCHAR;
typedef void VOID;
#ifndef TRUE
#define TRUE 1
#define FALSE 0
#endif
#ifndef UNREFERENCED_PARAMETER
#define UNREFERENCED_PARAMETER(P) ((void)(P))
#endif
#ifndef RtlZeroMemory
#define RtlZeroMemory(Destination, Length) memset((Destination), 0, (Length))
#define RtlCopyMemory(Destination, Source, Length) memcpy((Destination), (Source), (Length))
#define RtlMoveMemory(Destination, Source, Length) memmove((Destination), (Source), (Length))
#endif

/* Where a device is attached; this host asks for none. */
typedef enum _INTERFACE_TYPE { InterfaceTypeUndefined = -1, Internal, Isa, PCIBus = 5 } INTERFACE_TYPE;

/* A request. */
#define SRB_FUNCTION_EXECUTE_SCSI 0x00
#define SRB_FUNCTION_FLUSH 0x08 /* sent before an adapter is stopped */
#define SRB_STATUS_PENDING 0x00
#define SRB_STATUS_SUCCESS 0x01
#define SRB_STATUS_ERROR 0x04
#define SRB_STATUS_BUSY 0x05
#define SRB_STATUS_INVALID_REQUEST 0x06
#define SRB_STATUS_BUS_RESET 0x0E
#define SCSIOP_READ 0x28
#define SCSIOP_WRITE 0x2A

typedef struct _SCSI_REQUEST_BLOCK {
    USHORT Length;
    UCHAR Function;
    UCHAR SrbStatus;
    UCHAR PathId, TargetId, Lun;
    UCHAR CdbLength;
    ULONG DataTransferLength;
    PVOID DataBuffer;
    PVOID SrbExtension; /* SrbExtensionSize bytes, not zeroed */
    UCHAR Cdb[16];
} SCSI_REQUEST_BLOCK, *PSCSI_REQUEST_BLOCK;

/* What a buffer is aligned to: its address has none of these bits. */
enum {
    FILE_BYTE_ALIGNMENT = 0x0,
    FILE_WORD_ALIGNMENT = 0x1,
    FILE_LONG_ALIGNMENT = 0x3,
    FILE_QUAD_ALIGNMENT = 0x7,
    FILE_OCTA_ALIGNMENT = 0xF
};

/* FindAdapter gets it and fills it in. Inert: a miniport may set it, and the host does not look. */
typedef struct _PORT_CONFIGURATION_INFORMATION {
    ULONG Length;                       /* set by the host */
    INTERFACE_TYPE AdapterInterfaceType; /* inert; set by the host, from HW_INITIALIZATION_DATA */
    ULONG MaximumTransferLength;        /* set by the host, to what it transfers; inert */
    ULONG NumberOfPhysicalBreaks;       /* inert */
    ULONG AlignmentMask;                /* inert: FILE_LONG_ALIGNMENT and its kind */
    UCHAR NumberOfBuses, MaximumNumberOfTargets, MaximumNumberOfLogicalUnits; /* inert; one bus, one unit get requests */
    BOOLEAN CachesData;                 /* inert: a flush is sent in any case */
    BOOLEAN VirtualDevice;              /* inert */
    BOOLEAN DumpMode;                   /* set by the host: the system writes a dump */
    ULONG SynchronizationModel; /* StorSynchronizeFullDuplex or StorSynchronizeHalfDuplex */
} PORT_CONFIGURATION_INFORMATION, *PPORT_CONFIGURATION_INFORMATION;

enum { StorSynchronizeHalfDuplex = 0, StorSynchronizeFullDuplex = 1 };
enum { SP_RETURN_NOT_FOUND = 0, SP_RETURN_FOUND = 1, SP_RETURN_ERROR = 2, SP_RETURN_BAD_CONFIG = 3 };

/* This host asks for the supported types, and for the two of them that follow. */
typedef enum _SCSI_ADAPTER_CONTROL_TYPE {
    ScsiQuerySupportedControlTypes,
    ScsiStopAdapter,
    ScsiRestartAdapter,
    ScsiSetBootConfig,
    ScsiSetRunningConfig,
    ScsiPowerSettingNotification,
    ScsiAdapterPower,
    ScsiAdapterControlMax
} SCSI_ADAPTER_CONTROL_TYPE;
typedef enum _SCSI_ADAPTER_CONTROL_STATUS {
    ScsiAdapterControlSuccess,
    ScsiAdapterControlUnsuccessful
} SCSI_ADAPTER_CONTROL_STATUS;
/* This host asks for the supported types, for start, and for remove. */
typedef enum _SCSI_UNIT_CONTROL_TYPE {
    ScsiQuerySupportedUnitControlTypes,
    ScsiUnitUsage,
    ScsiUnitStart,
    ScsiUnitPower,
    ScsiUnitRemove,
    ScsiUnitSurpriseRemoval,
    ScsiUnitControlMax
} SCSI_UNIT_CONTROL_TYPE;
typedef enum _SCSI_UNIT_CONTROL_STATUS { ScsiUnitControlSuccess, ScsiUnitControlUnsuccessful } SCSI_UNIT_CONTROL_STATUS;

typedef struct _SCSI_SUPPORTED_CONTROL_TYPE_LIST {
    ULONG MaxControlType; /* how many of the following there are */
    BOOLEAN SupportedTypeList[ScsiAdapterControlMax];
} SCSI_SUPPORTED_CONTROL_TYPE_LIST, *PSCSI_SUPPORTED_CONTROL_TYPE_LIST;

/* Where a unit is: ScsiUnitStart and ScsiUnitRemove get it. */
typedef struct _STOR_ADDR_BTL8 {
    USHORT Type, Port;
    ULONG AddressLength;
    UCHAR Path, Target, Lun, Reserved;
} STOR_ADDR_BTL8, *PSTOR_ADDR_BTL8;
enum { STOR_ADDRESS_TYPE_BTL8 = 1, STOR_ADDR_BTL8_ADDRESS_LENGTH = 4 };

typedef struct _STOR_DPC STOR_DPC, *PSTOR_DPC;
typedef VOID HW_DPC_ROUTINE(PSTOR_DPC Dpc, PVOID HwDeviceExtension, PVOID SystemArgument1, PVOID SystemArgument2);
struct _STOR_DPC {
    HW_DPC_ROUTINE *Routine;
    PVOID HwDeviceExtension, SystemArgument1, SystemArgument2;
    STOR_DPC *Next;
    BOOLEAN Queued;
};

/* The miniport's routines, and the IRQL at which each is called. */
typedef BOOLEAN HW_INITIALIZE(PVOID DeviceExtension);         /* DIRQL */
typedef BOOLEAN HW_PASSIVE_INITIALIZE_ROUTINE(PVOID DeviceExtension); /* PASSIVE_LEVEL */
typedef BOOLEAN HW_BUILDIO(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb); /* DISPATCH_LEVEL, no lock */
typedef BOOLEAN HW_STARTIO(PVOID DeviceExtension, PSCSI_REQUEST_BLOCK Srb); /* DISPATCH_LEVEL, or DIRQL if half duplex */
typedef BOOLEAN HW_INTERRUPT(PVOID DeviceExtension);          /* DIRQL */
typedef VOID HW_TIMER(PVOID DeviceExtension);                 /* DISPATCH_LEVEL, the StartIo lock held */
typedef BOOLEAN HW_RESET_BUS(PVOID DeviceExtension, ULONG PathId); /* DISPATCH_LEVEL, the StartIo lock held */
typedef ULONG HW_FIND_ADAPTER(PVOID DeviceExtension, PVOID HwContext, PVOID BusInformation, PCHAR ArgumentString,
                              PPORT_CONFIGURATION_INFORMATION ConfigInfo, PBOOLEAN Again); /* PASSIVE_LEVEL */
typedef SCSI_ADAPTER_CONTROL_STATUS HW_ADAPTER_CONTROL(PVOID DeviceExtension, SCSI_ADAPTER_CONTROL_TYPE ControlType,
                                                       PVOID Parameters); /* stop, restart: DIRQL; query: PASSIVE_LEVEL */
typedef SCSI_UNIT_CONTROL_STATUS HW_UNIT_CONTROL(PVOID DeviceExtension, SCSI_UNIT_CONTROL_TYPE ControlType,
                                                 PVOID Parameters); /* PASSIVE_LEVEL */
typedef VOID HW_FREE_ADAPTER_RESOURCES(PVOID DeviceExtension); /* PASSIVE_LEVEL; unless FindAdapter failed */

/* How the port driver maps a request's buffer. This host's are always mapped. */
enum { STOR_MAP_NO_BUFFERS = 0, STOR_MAP_ALL_BUFFERS = 1, STOR_MAP_NON_READ_WRITE_BUFFERS = 2 };

/* For StorPortInitialize, which says what is missing. Required: without it the miniport is not loaded. Optional: NULL or
   0 is well. Inert: a miniport may set it, and the host does not look. */
typedef struct _HW_INITIALIZATION_DATA {
    ULONG HwInitializationDataSize;       /* required: sizeof(HW_INITIALIZATION_DATA) */
    INTERFACE_TYPE AdapterInterfaceType;  /* inert */
    HW_INITIALIZE *HwInitialize;          /* required */
    HW_STARTIO *HwStartIo;                /* required */
    HW_INTERRUPT *HwInterrupt;            /* optional; called each millisecond, as of a shared line */
    HW_FIND_ADAPTER *HwFindAdapter;       /* required */
    HW_RESET_BUS *HwResetBus;             /* required */
    ULONG DeviceExtensionSize;            /* optional: bytes of each adapter's extension, zeroed */
    ULONG SpecificLuExtensionSize;        /* inert */
    ULONG SrbExtensionSize;               /* optional: bytes of each request's extension, not zeroed */
    ULONG NumberOfAccessRanges;           /* inert: there are no ranges */
    UCHAR MapBuffers;                     /* inert: STOR_MAP_NO_BUFFERS and its kind */
    BOOLEAN NeedPhysicalAddresses;        /* inert, as the three that follow */
    BOOLEAN TaggedQueuing;
    BOOLEAN AutoRequestSense;
    BOOLEAN MultipleRequestPerLu;
    HW_ADAPTER_CONTROL *HwAdapterControl; /* required; stop and restart only if the query names them */
    HW_BUILDIO *HwBuildIo;                /* optional */
    HW_FREE_ADAPTER_RESOURCES *HwFreeAdapterResources; /* optional; where FindAdapter's memory is freed */
    ULONG FeatureSupport;                 /* inert */
    HW_UNIT_CONTROL *HwUnitControl;       /* optional */
} HW_INITIALIZATION_DATA, *PHW_INITIALIZATION_DATA;

typedef enum _SCSI_NOTIFICATION_TYPE { RequestComplete, RequestTimerCall } SCSI_NOTIFICATION_TYPE;
typedef enum _STOR_SPINLOCK { DpcLock = 1, StartIoLock, InterruptLock } STOR_SPINLOCK;
typedef struct _STOR_LOCK_HANDLE {
    STOR_SPINLOCK Lock;
    KIRQL Before;
} STOR_LOCK_HANDLE, *PSTOR_LOCK_HANDLE;

typedef ULONG DRIVER_INITIALIZE(PVOID DriverObject, PVOID RegistryPath);
DRIVER_INITIALIZE DriverEntry;

/* The port driver's routines. */
ULONG StorPortInitialize(PVOID Argument1, PVOID Argument2, PHW_INITIALIZATION_DATA HwInitializationData,
                         PVOID HwContext);
BOOLEAN StorPortEnablePassiveInitialization(PVOID DeviceExtension,
                                            HW_PASSIVE_INITIALIZE_ROUTINE *HwPassiveInitializeRoutine);
/* RequestComplete: (PSCSI_REQUEST_BLOCK); RequestTimerCall: (HW_TIMER *, ULONG microseconds). */
VOID StorPortNotification(SCSI_NOTIFICATION_TYPE NotificationType, PVOID HwDeviceExtension, ...);
VOID StorPortInitializeDpc(PVOID DeviceExtension, PSTOR_DPC Dpc, HW_DPC_ROUTINE *HwDpcRoutine);
/* FALSE: it is queued already. */
BOOLEAN StorPortIssueDpc(PVOID DeviceExtension, PSTOR_DPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2);
VOID StorPortAcquireSpinLock(PVOID DeviceExtension, STOR_SPINLOCK SpinLock, PVOID LockContext,
                             PSTOR_LOCK_HANDLE LockHandle);
VOID StorPortReleaseSpinLock(PVOID DeviceExtension, PSTOR_LOCK_HANDLE LockHandle);
/* Prints nothing: on Windows too a debugger has to ask for it. */
VOID StorPortDebugPrint(ULONG DebugPrintLevel, PCSTR DebugMessage, ...);

#ifdef __cplusplus
}
#endif

#endif
