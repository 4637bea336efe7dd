// SPDX-License-Identifier: Apache-2.0
// The key of an encrypted disk. Data are encrypted with a random key made once; it is kept in the descriptor, itself
// encrypted (AES-256-GCM) with a key derived (PBKDF2-HMAC-SHA-512) from the secret that the user keeps in a file or gets
// from a command. A new secret thus only wraps the key anew.
#ifndef BH_DISK_ENCRYPT_KEY_H
#define BH_DISK_ENCRYPT_KEY_H

#include <bulkhead/iofilter.h>

#define KEY_BYTES 64u   // AES-256-XTS takes two keys

int key_create(struct iof_settings *s, struct err *e);                       // random key, wrapped into the settings
int key_unwrap(const struct iof_settings *s, unsigned char key[KEY_BYTES], struct err *e);   // -EKEYREJECTED: wrong secret
/* Takes the secret from next-key-file or next-key-command instead from now on. */
int key_change(struct iof_settings *s, struct err *e);

#endif
