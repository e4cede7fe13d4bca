// What levels whose vectors have four lanes do lane by lane; f32 and i32 are those of the file that ends with this.
#pragma once

namespace {

LK i32 n_load_u8(const uint8_t* p) { return i32{p[0], p[1], p[2], p[3]}; }
LK float e4m3_to_float(uint8_t code) {  // a 256th of a float of 4 exponent and 3 mantissa bits
  int32_t exponent = code >> 3 & 15, rest = code & 7;
  uint32_t bits = (uint32_t)(exponent + 112) << 23 | (uint32_t)rest << 20;
  float value;
  memcpy(&value, &bits, 4);
  if (!exponent) value = (float)rest / 131072;
  if ((code & 0x7f) == 0x7f) value = __builtin_nanf("");
  return code & 0x80 ? -value : value;
}
LK f32 n_load_e4m3(const uint8_t* p) {
  return f32{e4m3_to_float(p[0]), e4m3_to_float(p[1]), e4m3_to_float(p[2]), e4m3_to_float(p[3])};
}
LK f32 n_lookup_floats(const f32* table, i32 at) {  // by 4 bits
  float from[16];
  memcpy(from, table, 64);
  return f32{from[at[0] & 15], from[at[1] & 15], from[at[2] & 15], from[at[3] & 15]};
}

}  // namespace
