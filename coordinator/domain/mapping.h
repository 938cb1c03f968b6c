/* Where the parts of a VM go: networks to networks, SRs to SRs, and single disks and VIFs. A map is
 * what its writer said and nothing else: what is not in it is a blocker, never a default. Networks
 * by name, id or "vlan:N"; SRs by name or id. */
#pragma once

#include "base/json.h"
#include "protocol/vocabulary.h"

enum { LIMIT_MAPPING = 64 << 10, LIMIT_MAPPING_ENTRIES = 256 };

struct mapping_disk {
    char device[32];
    char sr[LIMIT_NAME + 1]; /* "" = by the SR map */
    bool has_format;         /* false = the format that the disk has */
    enum image_format format;
};

struct mapping {
    struct json_array networks; /* struct json_pair: source -> destination, name, id or "vlan:N" */
    struct json_array srs;      /* struct json_pair: source -> destination, name or id each */
    struct json_array vifs;     /* struct json_pair: MAC -> destination network */
    struct json_array disks;    /* struct mapping_disk */
};

/* Decodes {"networks": {}, "srs": {}, "disks": {"vda": {"sr", "format"}}, "vifs": {}}, each of them
 * optional, strictly. Free with mapping_done. */
bool mapping_decode(const char *text, struct mapping *out, struct field_errors *errors,
                    struct error *err) must_check;
char *mapping_encode(const struct mapping *mapping); /* compact JSON; caller frees */
void mapping_done(struct mapping *mapping);

/* What `base` says, overridden key by key by what `over` says. `over` may be empty. */
void mapping_overlay(const struct mapping *base, const struct mapping *over, struct mapping *out);

/* A network of the source as maps can name it. */
struct mapping_network {
    const char *id, *name; /* "" = none */
    int vlan;              /* 0 = none */
};
/* The word that names a VLAN in maps. */
enum { MAPPING_VLAN_SIZE = 12 };
void mapping_vlan_word(int vlan, char out[MAPPING_VLAN_SIZE]);

/* NULL when the map does not say. Borrowed. The entry of a VIF or disk comes before that of its
 * network or SR, and an id before a name, a name before a VLAN. */
const char *mapping_network_of(const struct mapping *mapping, const char *mac,
                               const struct mapping_network *network);
const char *mapping_sr_of(const struct mapping *mapping, const char *device, const char *sr_id,
                          const char *sr_name);
enum image_format mapping_format_of(const struct mapping *mapping, const char *device,
                                    enum image_format current);
