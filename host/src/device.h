/* The device. */
#ifndef SPH_DEVICE_H
#define SPH_DEVICE_H

/* The third thread: interrupts, DPCs and timers. */
void *sph_device(void *unused);

#endif
