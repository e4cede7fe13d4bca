"""Words that are not split though their ends look like punctuation: abbreviations, clipped words, emoticons.

Source: spaCy 3.8's English and common special cases (MIT): all of them that hold no white space.
"""

_ABBREVIATIONS = (
    "Adm. Ak. Ala. Apr. Ariz. Ark. Aug. Bros. Calif. Co. Colo. Conn. Corp. D.C. Dec. Del. Dr. E.G.",
    "E.g. Feb. Fla. Ga. Gen. Gov. I.E. I.e. Ia. Id. Ill. Inc. Ind. Jan. Jr. Jul. Jun. Kan. Kans. Ky.",
    "La. Ltd. Mar. Mass. Md. Messrs. Mich. Minn. Miss. Mo. Mont. Mr. Mrs. Ms. Mt. N.C. N.D. N.H. N.J.",
    "N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. Ph.D. Prof. Rep. Rev. S.C. Sen. Sep. Sept.",
    "St. Tenn. Va. Wash. Wis. a. a.m. b. c. co. d. e. e.g. f. g. h. i. i.e. j. k. l. m. n. o. p. p.m.",
    "q. r. s. t. u. v. v.s. vs. w. x. y. z. ä. ö. ü.",
)
_CLIPPED = (
    "'Cause 'Cos 'Coz 'Cuz 'bout 'cause 'cos 'coz 'cuz 'em 'll 'nuff 're Doin Doin' Doin’ Goin Goin'",
    "Goin’ Havin Havin' Havin’ Lovin Lovin' Lovin’ Ma'am Ma’am Nothin Nothin' Nothin’ Nuthin Nuthin'",
    "Nuthin’ O'clock O.O O.o Ol Ol' Ol’ O’clock Somethin Somethin' Somethin’ V.V and/or doin doin'",
    "doin’ em goin goin' goin’ havin havin' havin’ ll lovin lovin' lovin’ ma'am ma’am nothin nothin'",
    "nothin’ nuff nuthin nuthin' nuthin’ o'clock o.O o.o ol ol' ol’ o’clock somethin somethin'",
    "somethin’ v.v w/o ’Cause ’Cos ’Coz ’Cuz ’bout ’cause ’cos ’coz ’cuz ’em ’ll ’nuff ’re",
)
_SIGNS = (
    "' '' 'S 'd 's (*_*) (-8 (-: (-; (-_-) (._.) (: (; (= (>_<) (^_^) (o: (¬_¬) (ಠ_ಠ) (╯°□°）╯︵┻━┻ )-:",
    "): -_- -__- ._. 0.0 0.o 0_0 0_o 8) 8-) 8-D 8D :'( :') :'-( :'-) :( :(( :((( :() :) :)) :))) :*",
    ":-( :-(( :-((( :-) :-)) :-))) :-* :-/ :-0 :-3 :-> :-D :-O :-P :-X :-] :-o :-p :-x :-| :-} :/ :0",
    ":1 :3 :> :D :O :P :X :] :o :o) :p :x :| :} :’( :’) :’-( :’-) ;) ;-) ;-D ;D ;_; <.< </3 <3 <33",
    "<333 <space> =( =) =/ =3 =D =[ =] =| >.< >.> >:( >:o ><(((*> @_@ C++ O_O O_o V_V XD XDD [-: [:",
    '[= \\") \\n \\t ]= ^_^ ^__^ ^___^ o.0 o_0 o_O o_o v_v xD xDD ¯\\(ツ)/¯ ಠ_ಠ ಠ︵ಠ — ‘S ‘s ’ ’S ’d ’s ’’',
)
WHOLE = frozenset(" ".join((*_ABBREVIATIONS, *_CLIPPED, *_SIGNS)).split())
